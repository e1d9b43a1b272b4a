"""One-time codes: five tries, one use, and nothing that tells whether a phone is known."""

from collections import Counter
from datetime import timedelta
from functools import partial

from payments import clock
from tests.customers import people
from tests.customers.people import other_code


def tries_of(app) -> int:
    return people.run(app, "SELECT tries FROM otp_challenges ORDER BY id DESC")[0].tries


def wrong_tries(app) -> int:
    return people.run(app, "SELECT count(*) AS n FROM otp_tries")[0].n


def test_a_code_comes_by_message_and_signs_in(person):
    asked = person.asks()
    assert asked.status_code == 202
    assert asked.headers["Cache-Control"] == "no-store"
    assert sorted(asked.json) == ["challenge_id", "expires_at", "resend_after"]
    expires, resend = (clock.parse_rfc3339(asked.json[n]) for n in ("expires_at", "resend_after"))
    assert timedelta(minutes=4.9) < expires - clock.now() <= timedelta(minutes=5)
    assert timedelta(seconds=25) < resend - clock.now() <= timedelta(seconds=30)
    (code,) = person.messages()
    assert len(code) == 6
    signed_in = person.tries(asked.json["challenge_id"], code)
    assert signed_in.status_code == 200
    assert signed_in.json["token_type"] == "Bearer"
    assert signed_in.json["expires_in"] == 900


def test_the_answer_is_the_same_for_a_customer_and_for_a_stranger(customer, make_person):
    known, unknown = customer.asks(), make_person("+4915155555555").asks()
    for answer in (known, unknown):
        assert answer.status_code == 202
        assert sorted(answer.json) == ["challenge_id", "expires_at", "resend_after"]
    assert len(known.data) == len(unknown.data)
    varying = {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Date"}
    first, second = (
        {name: value for name, value in answer.headers if name not in varying}
        for answer in (known, unknown)
    )
    assert first == second


def test_the_code_is_nowhere_in_the_database_or_the_log(app, person, capfd):
    challenge_id, code = person.challenge()
    (row,) = people.run(app, "SELECT * FROM otp_challenges")
    assert row.id == challenge_id
    assert not any(code in str(value) for value in (row.code_hash, row.phone, row.address))
    shown = capfd.readouterr()
    assert f"OTP {person.phone} {code}\n" in shown.out
    assert code not in shown.err
    assert person.phone not in shown.err


def test_codes_keep_their_leading_zeros(person, monkeypatch):
    monkeypatch.setattr("payments.customers.otp.secrets.randbelow", lambda below: 42)
    challenge_id, code = person.challenge()
    assert code == "000042"
    assert person.tries(challenge_id, code).status_code == 200


def test_a_code_has_one_use(person):
    challenge_id, code = person.challenge()
    assert person.tries(challenge_id, code).status_code == 200
    again = person.tries(challenge_id, code)
    assert (again.status_code, again.json["code"]) == (401, "invalid_code")


def test_of_two_uses_at_once_one_counts(app, person, make_person):
    challenge_id, code = person.challenge()
    answers = people.at_once([partial(make_person().tries, challenge_id, code) for _ in range(4)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 3}
    assert people.run(app, "SELECT count(*) AS n FROM sessions")[0].n == 1


def test_a_new_code_ends_the_old_ones(person, make_person):
    old_id, old_code = person.challenge()
    make_person("+4915155555555").challenge()
    new_id, new_code = person.challenge()
    assert person.tries(old_id, old_code).status_code == 401
    assert person.tries(new_id, new_code).status_code == 200


def test_a_code_ends_after_five_minutes(app, person):
    challenge_id, code = person.challenge()
    people.set_back(app, "otp_challenges", "expires_at", 299)
    assert person.tries(challenge_id, other_code(code)).status_code == 401
    assert tries_of(app) == 1
    people.set_back(app, "otp_challenges", "expires_at", 2)
    assert person.tries(challenge_id, code).json["code"] == "invalid_code"
    assert tries_of(app) == 1


def test_a_wrong_code_counts_although_the_answer_is_a_refusal(app, person):
    challenge_id, code = person.challenge()
    refused = person.tries(challenge_id, other_code(code))
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_code")
    assert code not in refused.text
    assert (tries_of(app), wrong_tries(app)) == (1, 1)


def test_after_five_wrong_tries_the_right_code_is_refused_too(app, person):
    challenge_id, code = person.challenge()
    for by in range(1, 6):
        assert person.tries(challenge_id, other_code(code, by)).status_code == 401
    last = person.tries(challenge_id, code)
    assert (last.status_code, last.json["code"]) == (401, "invalid_code")
    assert (tries_of(app), wrong_tries(app)) == (5, 5)
    assert people.run(app, "SELECT id FROM customers") == []


def test_the_fifth_try_may_be_the_right_one(person):
    challenge_id, code = person.challenge()
    for by in range(1, 5):
        person.tries(challenge_id, other_code(code, by))
    assert person.tries(challenge_id, code).status_code == 200


def test_who_mistypes_five_times_signs_in_with_the_next_code(person):
    challenge_id, code = person.challenge()
    for by in range(1, 6):
        person.tries(challenge_id, other_code(code, by))
    person.signs_in()


def test_six_wrong_codes_at_once_are_five_tries(app, person, make_person):
    challenge_id, code = person.challenge()
    answers = people.at_once(
        [partial(make_person().tries, challenge_id, other_code(code, by)) for by in range(1, 7)]
    )
    assert {(a.status_code, a.json["code"]) for a in answers} == {(401, "invalid_code")}
    assert (tries_of(app), wrong_tries(app)) == (5, 5)
    assert person.tries(challenge_id, code).status_code == 401


def test_the_right_code_takes_its_wrong_tries_back(app, person):
    challenge_id, code = person.challenge()
    person.tries(challenge_id, other_code(code))
    assert wrong_tries(app) == 1
    person.tries(challenge_id, code)
    assert wrong_tries(app) == 0


def test_every_refusal_reads_the_same(app, person, make_person):
    challenge_id, code = person.challenge()
    wrong = person.tries(challenge_id, other_code(code))
    unknown = person.tries("otp_" + "0" * 32, code)
    person.tries(challenge_id, code)
    used = person.tries(challenge_id, code)
    assert wrong.json["detail"] == unknown.json["detail"] == used.json["detail"]


NO_TRIES = [
    {"challenge_id": "otp_" + "0" * 32, "code": "12345"},
    {"challenge_id": "otp_" + "0" * 32, "code": "1234567"},
    {"challenge_id": "otp_" + "0" * 32, "code": "12345a"},
    {"challenge_id": "otp_" + "0" * 32, "code": "١٢٣٤٥٦"},
    {"challenge_id": "otp_" + "0" * 32, "code": "123456\n"},
    {"challenge_id": "otp_" + "0" * 32, "code": 123456},
    {"challenge_id": "pay_" + "0" * 32, "code": "123456"},
    {"challenge_id": "otp_" + "0" * 32},
]


def test_what_is_no_code_is_no_try(person):
    refused = [person.calls("POST", "/v1/auth/token", body) for body in NO_TRIES]
    assert [(a.status_code, a.json["code"]) for a in refused] == [(422, "invalid_request")] * 8


def test_a_code_under_a_key_being_rotated_out_verifies(make_app, settings):
    old, new = (
        "tests-key-0123456789abcdef0123456789abcdef",
        "other-key-fedcba98765432100123456789ab",
    )
    before = people.Person(
        make_app(SECRET_KEY=old).test_client(), settings.instance_dir / "sms.log"
    )
    challenge_id, code = before.challenge()
    gone = people.Person(make_app(SECRET_KEY=new).test_client(), settings.instance_dir / "sms.log")
    assert gone.tries(challenge_id, code).status_code == 401
    overlap = people.Person(
        make_app(SECRET_KEY=f"{new},{old}").test_client(), settings.instance_dir / "sms.log"
    )
    assert overlap.tries(challenge_id, code).status_code == 200


def test_a_repeated_request_sends_one_message(person):
    first, again = person.asks(key="k-1"), person.asks(key="k-1")
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(person.messages()) == 1


def test_a_repeated_sign_in_is_no_second_try_and_shows_no_token_again(app, person):
    challenge_id, code = person.challenge()
    first = person.tries(challenge_id, code, key="k-1")
    again = person.tries(challenge_id, code, key="k-1")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json["access_token"] is not None
    assert again.json == first.json | {"access_token": None, "refresh_token": None}
    assert again.headers["Idempotent-Secrets-Omitted"] == "access_token, refresh_token"
    assert tries_of(app) == 1
    (kept,) = people.run(app, "SELECT body FROM idempotency_keys")
    assert first.json["access_token"] not in kept.body


def test_nobody_reads_an_answer_by_the_key_of_another_address(person, make_person):
    first = person.asks(key="k-1")
    other = make_person(address="192.0.2.2").asks(key="k-1")
    assert other.status_code == 202
    assert other.json["challenge_id"] != first.json["challenge_id"]


def test_nothing_is_sent_when_the_unit_is_undone(person, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("payments.api.idempotency._encoder.encode", fails)
    assert person.asks().status_code == 500
    assert person.messages() == []
