"""What is over is forgotten in its time, and nothing that still counts is."""

from payments import db
from payments.customers import pruning
from tests.customers import people
from tests.customers.people import other_code

DAY = 86400


def prune(app, limit=100) -> int:
    with app.app_context():
        return db.in_unit(lambda: pruning.prune(limit))


def rows(app, table) -> int:
    return people.run(app, f"SELECT count(*) AS n FROM {table}")[0].n


def test_codes_and_tries_go_after_a_day(app, person):
    challenge_id, code = person.challenge()
    person.tries(challenge_id, other_code(code))
    people.set_back(app, "otp_challenges", "created_at", DAY - 60)
    people.set_back(app, "otp_tries", "created_at", DAY - 60)
    assert prune(app) == 0
    people.set_back(app, "otp_challenges", "created_at", 61)
    assert prune(app) == 0  # a try is still there
    people.set_back(app, "otp_tries", "created_at", 61)
    assert prune(app) == 2
    assert (rows(app, "otp_challenges"), rows(app, "otp_tries")) == (0, 0)


def test_sessions_go_a_month_after_their_time(app, customer):
    customer.refreshes()
    people.set_back(app, "sessions", "expires_at", (90 + 30) * DAY - 60)
    assert prune(app) == 0
    people.set_back(app, "sessions", "expires_at", 61)
    assert prune(app) == 3
    assert (rows(app, "sessions"), rows(app, "refresh_tokens")) == (0, 0)
    assert customer.calls("GET", "/v1/me").status_code == 200


def test_a_successor_is_kept_sealed_for_as_long_as_it_may_be_asked_for(app, customer):
    sealed = "SELECT count(*) AS n FROM refresh_tokens WHERE successor_sealed IS NOT NULL"
    first = customer.tokens["refresh_token"]
    customer.tokens = customer.refreshes().json
    people.set_back(
        app, "refresh_tokens", "replaced_at", 25, "replaced_at IS NOT NULL", "token_hash"
    )
    assert (prune(app), people.run(app, sealed)[0].n) == (0, 1)
    people.set_back(
        app, "refresh_tokens", "replaced_at", 6, "replaced_at IS NOT NULL", "token_hash"
    )
    assert (prune(app), people.run(app, sealed)[0].n) == (1, 0)
    assert customer.refreshes().status_code == 200
    assert customer.refreshes(first).json["code"] == "key_revoked"


def test_it_takes_no_more_than_it_is_told(app, person):
    for _ in range(3):
        person.challenge()
    people.set_back(app, "otp_challenges", "created_at", DAY + 1)
    assert [prune(app, 2), prune(app, 2), prune(app, 2)] == [2, 1, 0]


def test_a_session_in_use_stays_with_all_its_tokens(app, customer):
    first = customer.tokens["refresh_token"]
    for _ in range(3):
        customer.tokens = customer.refreshes().json
    people.set_back(app, "refresh_tokens", "created_at", 80 * DAY, key="token_hash")
    assert prune(app) == 0
    assert customer.refreshes(first).json["code"] == "key_revoked"
