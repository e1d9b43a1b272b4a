"""What one network of IPv6 may use up, and what of the overall limit is kept for customers."""

import secrets
from collections import Counter

import pytest

from tests.customers import people
from tests.customers.people import Person, other_code

LIMITS = {"OTP_PER_HOUR": "5", "OTP_PER_ADDRESS_HOUR": "1000", "RATE_LIMIT_PER_MINUTE": "10000"}


@pytest.fixture
def service(make_app, settings):
    """`service(OTP_PER_HOUR="5")`: the app with these limits, and its `make_person`."""

    def make(**limits):
        app = make_app(**LIMITS | limits)

        def make_person(number: int, address: str | None = None) -> Person:
            return Person(
                app.test_client(),
                settings.instance_dir / "sms.log",
                f"+49151{number:08d}",
                address or f"192.0.2.{number}",
            )

        return app, make_person

    return make


def test_a_48_of_ipv6_has_four_times_as_many_codes_as_an_address(service):
    _, make_person = service(OTP_PER_ADDRESS_HOUR="2", OTP_PER_HOUR="1000")
    networks = [f"2001:db8:7:{n:x}::1" for n in range(6)]
    there = [make_person(n, networks[n // 2]) for n in range(10)]
    assert Counter(each.asks().status_code for each in there) == {202: 8, 429: 2}
    assert make_person(20, "2001:db8:8::1").asks().status_code == 202
    assert make_person(21, "192.0.2.9").asks().status_code == 202


def test_a_48_of_ipv6_guesses_four_times_as_often_as_an_address(service):
    _, make_person = service(OTP_PER_ADDRESS_HOUR="1", OTP_PER_HOUR="1000")
    challenges = [make_person(n).challenge() for n in range(1, 7)]
    answers = []
    for number, (challenge_id, code) in enumerate(challenges):
        guesser = make_person(99, f"2001:db8:7:{number:x}::1")
        answers.append(guesser.tries(challenge_id, other_code(code)).status_code)
    assert answers == [401, 401, 401, 401, 429, 429]


def asked(person: Person) -> dict:
    answer = person.asks()
    assert answer.status_code == 202, answer.text
    return answer.json


def filled(make_person) -> Person:
    """A customer; four of five codes of this hour are gone, the first of them theirs."""
    customer = make_person(1)
    customer.signs_in()
    customer.tokens = {}
    for number in range(2, 5):
        make_person(number).challenge()
    return customer


def test_the_last_fifth_of_all_codes_goes_to_customers_and_no_answer_shows_it(service, caplog):
    _, make_person = service()
    customer = filled(make_person)
    strangers = [make_person(number) for number in range(10, 20)]
    to_strangers = [asked(each) for each in strangers]
    assert [each.messages() for each in strangers] == [[]] * 10
    assert "a code was withheld" in caplog.text
    to_customer = asked(customer)
    assert len(customer.messages()) == 2
    assert {frozenset(answer) for answer in [*to_strangers, to_customer]} == {
        frozenset(("challenge_id", "expires_at", "resend_after"))
    }
    signed_in = customer.tries(to_customer["challenge_id"], customer.messages()[-1])
    assert signed_in.status_code == 200


def test_once_all_is_gone_everybody_hears_the_same(service):
    _, make_person = service()
    customer = filled(make_person)
    asked(customer)
    answers = [person.asks() for person in (customer, make_person(10))]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert len({answer.json["detail"] for answer in answers}) == 1


def test_a_phone_that_was_only_paid_is_no_customer_yet(service):
    app, make_person = service()
    filled(make_person)
    paid = make_person(10)
    people.wallet_of(app, paid.phone)
    asked(paid)
    assert paid.messages() == []


def test_no_code_is_right_for_one_that_was_withheld_and_tries_at_it_count_alike(
    service, monkeypatch
):
    app, make_person = service(OTP_PER_ADDRESS_HOUR="3")
    filled(make_person)
    monkeypatch.setattr(secrets, "randbelow", lambda _bound: 7)
    stranger = make_person(10)
    challenge_id = asked(stranger)["challenge_id"]
    answers = [stranger.tries(challenge_id, f"{n:06d}").status_code for n in (7, 8, 9, 10)]
    assert answers == [401, 401, 401, 429]
    tries = people.run(app, "SELECT withheld FROM otp_tries WHERE address = '192.0.2.10'")
    assert [row.withheld for row in tries] == [True] * 3


def test_wrong_tries_use_up_no_codes_and_codes_no_tries(service):
    """Five times as many tries as codes overall: whoever spends all of theirs shuts nobody out."""
    app, make_person = service(OTP_PER_HOUR="2")
    for number in (1, 2):
        person = make_person(number)
        challenge_id, code = person.challenge()
        answers = [person.tries(challenge_id, other_code(code, by)) for by in range(1, 6)]
        assert [answer.status_code for answer in answers] == [401] * 5
    people.set_back(app, "otp_challenges", "created_at", 3601)
    people.set_back(app, "otp_tries", "created_at", 3540, "address = '192.0.2.1'")
    person = make_person(3)
    challenge_id, code = person.challenge()
    assert person.tries(challenge_id, code).status_code == 429  # ten tries in this hour
    people.set_back(app, "otp_tries", "created_at", 61, "address = '192.0.2.1'")
    assert person.tries(challenge_id, code).status_code == 200


def test_what_is_withheld_holds_in_every_process(service):
    """Two services on one database, as two processes are: nothing is shared but the rows."""
    (_, first), (_, second) = service(), service()
    filled(first)
    there = [make(number) for number in range(10, 15) for make in (first, second)]
    answers = people.at_once([person.asks for person in there])
    assert Counter(answer.status_code for answer in answers) == {202: 10}
    assert [person.messages() for person in there] == [[]] * 10
