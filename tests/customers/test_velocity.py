"""How often codes may be asked for and guessed at, in one process and in several at once."""

from collections import Counter
from functools import partial

import pytest

from tests.customers import people
from tests.customers.people import Person, other_code


@pytest.fixture
def limited(make_app, settings):
    """`limited(OTP_PER_PHONE_HOUR="2")`: gives `make_person` of a service with these limits."""

    def make(**limits):
        app = make_app(RATE_LIMIT_PER_MINUTE="10000", **limits)

        def make_person(phone: str = people.PHONE, **more: str) -> Person:
            return Person(app.test_client(), settings.instance_dir / "sms.log", phone, **more)

        return app, make_person

    return make


def phone(number: int) -> str:
    return f"+49151{number:08d}"


def test_a_phone_gets_so_many_codes_an_hour(limited):
    app, make_person = limited(OTP_PER_PHONE_HOUR="2")
    person = make_person()
    first, second = person.asks(), make_person(address="192.0.2.9").asks()
    assert (first.status_code, second.status_code) == (202, 202)
    refused = person.asks()
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert 3590 < int(refused.headers["Retry-After"]) <= 3600
    assert len(person.messages()) == 2
    assert make_person(phone(1)).asks().status_code == 202


def test_five_codes_an_hour_are_the_default(person):
    assert [person.asks().status_code for _ in range(6)] == [202] * 5 + [429]


def test_the_hour_slides_and_refusals_do_not_lengthen_it(limited):
    app, make_person = limited(OTP_PER_PHONE_HOUR="2")
    person = make_person()
    person.asks()
    people.set_back(app, "otp_challenges", "created_at", 3000)
    person.asks()
    for _ in range(3):
        refused = person.asks()
        assert refused.status_code == 429
        assert 590 < int(refused.headers["Retry-After"]) <= 600
    people.set_back(app, "otp_challenges", "created_at", 601)
    assert person.asks().status_code == 202
    assert person.asks().status_code == 429


def test_resend_after_knows_when_the_phone_has_room(limited):
    app, make_person = limited(OTP_PER_PHONE_HOUR="2")
    person = make_person()
    person.asks()
    people.set_back(app, "otp_challenges", "created_at", 1000)
    last = person.asks().json
    assert last["resend_after"] > last["expires_at"]
    refused = person.asks()
    assert int(refused.headers["Retry-After"]) > 2500


def test_the_last_code_before_the_limit_still_signs_in(limited):
    app, make_person = limited(OTP_PER_PHONE_HOUR="1")
    person = make_person()
    challenge_id, code = person.challenge()
    assert person.asks().status_code == 429
    assert person.tries(challenge_id, code).status_code == 200


def test_an_address_gets_so_many_codes_an_hour(limited):
    app, make_person = limited(OTP_PER_ADDRESS_HOUR="3")
    answers = [make_person(phone(number)).asks().status_code for number in range(4)]
    assert answers == [202, 202, 202, 429]
    assert make_person(phone(9), address="192.0.2.2").asks().status_code == 202


def test_a_network_of_ipv6_is_one_address(limited):
    app, make_person = limited(OTP_PER_ADDRESS_HOUR="1")
    assert make_person(phone(1), address="2001:db8::1").asks().status_code == 202
    assert make_person(phone(2), address="2001:db8::2:1").asks().status_code == 429
    assert make_person(phone(3), address="2001:db8:0:1::1").asks().status_code == 202


def test_all_together_get_so_many_codes_an_hour(limited):
    app, make_person = limited(OTP_PER_HOUR="3")
    answers = [
        make_person(phone(number), address=f"192.0.2.{number}").asks().status_code
        for number in range(1, 5)
    ]
    assert answers == [202, 202, 202, 429]


def test_codes_asked_for_at_once_pass_no_limit(limited):
    """Two services on one database, as two processes are: nothing is shared but the rows."""
    limits = {"OTP_PER_PHONE_HOUR": "3", "OTP_PER_ADDRESS_HOUR": "1000"}
    _, first = limited(**limits)
    _, second = limited(**limits)
    people_there = [make(address=f"192.0.2.{n}") for n in range(5) for make in (first, second)]
    answers = people.at_once([person.asks for person in people_there])
    assert Counter(answer.status_code for answer in answers) == {202: 3, 429: 7}
    assert len(people_there[0].messages()) == 3


@pytest.mark.parametrize("scope", ["ADDRESS_", ""])
def test_other_phones_asking_at_once_pass_no_limit_of_address_and_all(limited, scope):
    _, make_person = limited(**{f"OTP_PER_{scope}HOUR": "4"})
    there = [make_person(phone(number)) for number in range(10)]
    answers = people.at_once([person.asks for person in there])
    assert Counter(answer.status_code for answer in answers) == {202: 4, 429: 6}


def test_an_address_guesses_so_often_an_hour(limited):
    app, make_person = limited(OTP_PER_ADDRESS_HOUR="3")
    there = [make_person(phone(n), address=f"192.0.2.{n}") for n in range(1, 5)]
    challenges = [person.challenge() for person in there]
    guesser = make_person(address="198.51.100.7")
    answers = [guesser.tries(c, other_code(code)).status_code for c, code in challenges]
    assert answers == [401, 401, 401, 429]
    refused = guesser.tries(*challenges[3])
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert 3590 < int(refused.headers["Retry-After"]) <= 3600
    assert there[3].tries(*challenges[3]).status_code == 200


def test_a_refused_try_is_not_one_of_the_five(limited):
    app, make_person = limited(OTP_PER_ADDRESS_HOUR="1")
    person = make_person()
    challenge_id, code = person.challenge()
    assert person.tries(challenge_id, other_code(code)).status_code == 401
    assert person.tries(challenge_id, code).status_code == 429
    assert people.run(app, "SELECT tries FROM otp_challenges")[0].tries == 1
    people.set_back(app, "otp_tries", "created_at", 3601)
    assert person.tries(challenge_id, code).status_code == 200


def test_guesses_at_once_pass_no_limit(limited):
    limits = {"OTP_PER_ADDRESS_HOUR": "4"}
    _, first = limited(**limits)
    _, second = limited(**limits)
    there = [first(phone(n), address=f"192.0.2.{n}") for n in range(1, 9)]
    challenges = [person.challenge() for person in there]
    guessers = [make(address="198.51.100.7") for _ in range(4) for make in (first, second)]
    answers = people.at_once(
        [
            partial(guesser.tries, challenge_id, other_code(code))
            for guesser, (challenge_id, code) in zip(guessers, challenges, strict=True)
        ]
    )
    assert Counter(answer.status_code for answer in answers) == {401: 4, 429: 4}


def test_a_phone_is_guessed_at_no_oftener_than_its_codes_allow(limited):
    app, make_person = limited(OTP_PER_PHONE_HOUR="1")
    person = make_person()
    challenge_id, code = person.challenge()
    for by in range(1, 6):
        assert person.tries(challenge_id, other_code(code, by)).status_code == 401
    people.set_back(app, "otp_challenges", "created_at", 3601)
    challenge_id, code = person.challenge()
    assert person.tries(challenge_id, code).status_code == 429
    people.set_back(app, "otp_tries", "created_at", 3601)
    assert person.tries(challenge_id, code).status_code == 200


def test_who_signs_in_often_is_no_guesser(limited):
    app, make_person = limited(OTP_PER_ADDRESS_HOUR="2")
    for number in range(1, 6):
        person = make_person(phone(number), address=f"192.0.2.{number}")
        challenge_id, code = person.challenge()
        here = make_person(phone(number), address="198.51.100.7")
        assert here.tries(challenge_id, other_code(code)).status_code == 401
        assert here.tries(challenge_id, code).status_code == 200


def test_the_limits_are_the_same_for_a_customer_and_for_a_stranger(limited):
    app, make_person = limited(OTP_PER_PHONE_HOUR="2")
    known, unknown = make_person(), make_person(phone(1))
    known.signs_in()
    known.tokens = {}
    unknown.challenge()
    refusals = []
    for person in (known, unknown):
        challenge_id, code = person.challenge()
        wrong = person.tries(challenge_id, other_code(code))
        refused = person.asks()
        refusals.append((wrong.json["detail"], refused.status_code, refused.json["detail"]))
    assert refusals[0] == refusals[1]
