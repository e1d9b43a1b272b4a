"""Wallets: balances now and as they were, one for each currency, nobody else's."""

from datetime import timedelta

from payments import clock, db
from payments.ledger import accounts, holds
from tests.customers import people


def ago(seconds: float) -> str:
    return clock.to_rfc3339(clock.now() - timedelta(seconds=seconds))


def test_the_default_currency_comes_first_then_the_newest(customer):
    for currency in ("USD", "SYP"):
        assert customer.calls("POST", "/v1/wallets", {"currency": currency}).status_code == 201
    whole = customer.calls("GET", "/v1/wallets").json
    assert [wallet["currency"] for wallet in whole["data"]] == ["EUR", "SYP", "USD"]
    assert whole["next_cursor"] is None
    cursor, seen = "", []
    for _ in range(3):
        page = customer.calls("GET", f"/v1/wallets?limit=1{cursor}").json
        seen += page["data"]
        cursor = f"&cursor={page['next_cursor']}"
    assert (seen, page["next_cursor"]) == (whole["data"], None)


def test_a_cursor_of_another_customer_is_refused(customer, make_person):
    customer.calls("POST", "/v1/wallets", {"currency": "USD"})
    cursor = customer.calls("GET", "/v1/wallets?limit=1").json["next_cursor"]
    other = make_person("+4915155555555")
    other.signs_in()
    refused = other.calls("GET", f"/v1/wallets?limit=1&cursor={cursor}")
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_cursor")


def test_there_is_one_wallet_for_each_currency(customer):
    opened = customer.calls("POST", "/v1/wallets", {"currency": "USD"})
    again = customer.calls("POST", "/v1/wallets", {"currency": "USD"})
    first = customer.calls("POST", "/v1/wallets", {"currency": "EUR"})
    assert (opened.status_code, again.status_code, first.status_code) == (201, 200, 200)
    assert again.json == opened.json
    assert first.json == customer.wallet()
    assert len(customer.calls("GET", "/v1/wallets").json["data"]) == 2


def test_a_repeated_key_opens_it_once(customer):
    first = customer.calls("POST", "/v1/wallets", {"currency": "USD"}, key="k-1")
    again = customer.calls("POST", "/v1/wallets", {"currency": "USD"}, key="k-1")
    assert (again.status_code, again.json) == (201, first.json)


def test_opened_at_once_there_is_one(customer, app):
    answers = people.at_once(
        [lambda: customer.calls("POST", "/v1/wallets", {"currency": "USD"})] * 4
    )
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json["id"] for answer in answers}) == 1


def test_a_currency_that_is_none_opens_nothing(customer):
    for currency in ("eur", "XXX", "EURO", "", 978, None):
        refused = customer.calls("POST", "/v1/wallets", {"currency": currency})
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_request"), currency
    assert len(customer.calls("GET", "/v1/wallets").json["data"]) == 1


def test_a_wallet_shows_balance_held_and_available(app, customer):
    wallet = customer.wallet()
    people.deposit(app, wallet["id"], 50_00)
    with app.app_context(), db.unit_of_work() as unit:
        holds.place(wallet["id"], 20_00, "pay_1", unit.now + timedelta(days=1))
    shown = customer.calls("GET", f"/v1/wallets/{wallet['id']}")
    assert shown.status_code == 200
    assert sorted(shown.json) == sorted(
        "object id status version currency balance held available created_at".split()
    )
    amounts = [shown.json[name] for name in ("balance", "held", "available")]
    assert amounts == [50_00, 20_00, 30_00]
    assert (shown.json["object"], shown.json["status"]) == ("wallet", "active")
    assert shown.json == customer.wallet()


def test_a_frozen_wallet_says_so(app, customer):
    wallet = customer.wallet()
    with app.app_context(), db.unit_of_work():
        accounts.freeze(wallet["id"])
    assert customer.wallet()["status"] == "frozen"


def test_the_balance_as_it_was(app, customer):
    wallet_id = customer.wallet()["id"]
    before = ago(0)
    people.deposit(app, wallet_id, 10_00)
    between = ago(0)
    people.deposit(app, wallet_id, 7_00)
    balances = [
        customer.calls("GET", f"/v1/wallets/{wallet_id}?at={at}").json
        for at in (before, between, ago(0))
    ]
    assert [then["balance"] for then in balances] == [0, 10_00, 17_00]
    assert [then["available"] for then in balances] == [0, 10_00, 17_00]
    assert balances[0]["at"] == before
    assert {then["provisional"] for then in balances} == {True}


def test_a_hold_is_in_the_balance_of_its_time(app, customer):
    wallet_id = customer.wallet()["id"]
    people.deposit(app, wallet_id, 10_00)
    with app.app_context():
        held = db.in_unit(
            lambda: holds.place(wallet_id, 4_00, "pay_1", db.unit().now + timedelta(days=1))
        )
        at = clock.to_rfc3339(db.now())
        db.in_unit(lambda: holds.release(held))
    then = customer.calls("GET", f"/v1/wallets/{wallet_id}?at={at}").json
    assert (then["balance"], then["held"], then["available"]) == (10_00, 4_00, 6_00)
    assert customer.wallet()["held"] == 0


def test_only_what_lies_15_s_back_is_final(customer):
    wallet_id = customer.wallet()["id"]
    near = customer.calls("GET", f"/v1/wallets/{wallet_id}?at={ago(13)}").json
    far = customer.calls("GET", f"/v1/wallets/{wallet_id}?at={ago(15.1)}").json
    assert (near["provisional"], far["provisional"]) == (True, False)
    now = customer.calls("GET", f"/v1/wallets/{wallet_id}").json
    assert "provisional" not in now


NO_TIMES = [
    "2026-01-01T00:00:00",
    "2026-01-01",
    "1767225600",
    "yesterday",
    "",
    "2999-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
]


def test_a_time_that_is_none_or_to_come_is_refused(customer):
    wallet_id = customer.wallet()["id"]
    for at in NO_TIMES:
        refused = customer.calls("GET", f"/v1/wallets/{wallet_id}?at={at}")
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_request"), at
        assert refused.json["errors"][0]["pointer"] == "/at"


def test_an_offset_is_read_as_one(customer):
    at = (clock.now() - timedelta(hours=1)).isoformat().replace("+00:00", "%2B00:00")
    shown = customer.calls("GET", f"/v1/wallets/{customer.wallet()['id']}?at={at}")
    assert (shown.status_code, shown.json["provisional"]) == (200, False)


def test_what_is_not_yours_is_not_found(app, customer, make_person):
    other = make_person("+4915155555555")
    other.signs_in()
    with app.app_context(), db.unit_of_work():
        fees = accounts.ensure_system("fees", "EUR")
    for wallet_id in (other.wallet()["id"], fees, "wal_" + "0" * 32, "wal_1"):
        for path in (f"/v1/wallets/{wallet_id}", f"/v1/wallets/{wallet_id}/statement"):
            refused = customer.calls("GET", path)
            assert (refused.status_code, refused.json["code"]) == (404, "not_found"), path


def test_the_version_grows_with_every_change_of_what_is_shown(app, customer):
    wallet_id = customer.wallet()["id"]
    versions = [customer.wallet()["version"]]
    people.deposit(app, wallet_id, 10_00)
    versions.append(customer.wallet()["version"])
    with app.app_context():
        held = db.in_unit(lambda: holds.place(wallet_id, 4_00, "pay_1", None))
        versions.append(customer.wallet()["version"])
        db.in_unit(lambda: holds.release(held))
        versions.append(customer.wallet()["version"])
    assert versions == [1, 2, 3, 4]


def test_a_key_is_honoured_on_a_change_as_well(customer):
    first = customer.calls("PATCH", "/v1/me", {"name": "Ann"}, key="k-1")
    other = customer.calls("PATCH", "/v1/me", {"name": "Bea"}, key="k-1")
    again = customer.calls("PATCH", "/v1/me", {"name": "Ann"}, key="k-1")
    assert (first.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
