"""`GET /v1/settlements`: the merchant's own rows, the same ones that the script writes."""

import csv
import io
from datetime import timedelta

import pytest

from payments import db
from payments.clock import to_rfc3339
from payments.settlement import report
from tests.checkout import world
from tests.merchants.callers import pointers, refused, told, with_key
from tests.scripts import running
from tests.settlement.dates import dated

URL = "/v1/settlements"
SEPTEMBER = {"from": "2025-09-01T00:00:00Z", "to": "2025-09-30T23:59:59Z"}


@pytest.fixture
def app(make_app):
    """With a fee of 2.5 %."""
    return make_app(FEE_BPS="250")


@pytest.fixture
def shop(database, app_context) -> str:
    """Sold for 20.00 EUR and USD in September 2025; another shop did too."""
    payer = world.customer("+4915155555555", has=100_00)
    world.did(lambda: world.deposits.create("bank", "+4915155555555", 100_00, "USD", "d-1"))
    shop, other = world.merchant(), world.merchant(name="Other")
    for merchant, currency in ((shop, "EUR"), (shop, "USD"), (other, "EUR")):
        paid = world.asks(merchant, 20_00, currency=currency)
        world.confirms(payer, paid.id)
        dated(database, paid.id, "2025-09-30T23:59:59.5Z")
    return shop


@pytest.fixture
def merchant(client, shop):
    return with_key(client, shop, "settlements:read")


def test_a_row_for_each_currency_of_the_merchant_alone(merchant, shop):
    page = told(merchant.get(URL, **SEPTEMBER))
    assert page["next_cursor"] is None
    assert sorted(row["currency"] for row in page["data"]) == ["EUR", "USD"]
    row = page["data"][0]
    assert row == {
        "object": "settlement",
        **SEPTEMBER,
        "merchant": shop,
        "currency": row["currency"],
        "opening": 0,
        "gross": 20_00,
        "fees": 50,
        "refunds": 0,
        "net": 19_50,
        "payouts": 0,
        "adjustments": 0,
        "closing": 19_50,
        "provisional": False,
    }


def test_pages_follow_each_other(merchant):
    whole = told(merchant.get(URL, **SEPTEMBER))["data"]
    first = told(merchant.get(URL, **SEPTEMBER, limit=1))
    second = told(merchant.get(URL, **SEPTEMBER, limit=1, cursor=first["next_cursor"]))
    assert [*first["data"], *second["data"]] == whole
    assert second["next_cursor"] is None
    other = SEPTEMBER | {"to": "2025-10-31T23:59:59Z"}
    foreign = merchant.get(URL, **other, limit=1, cursor=first["next_cursor"])
    assert refused(foreign) == (422, "invalid_cursor")


def test_what_is_not_closed_is_provisional(merchant):
    now = db.now()
    for back, provisional in ((10, True), (17, False)):
        until = to_rfc3339((now - timedelta(seconds=back)).replace(microsecond=0))
        page = told(merchant.get(URL, **{**SEPTEMBER, "to": until}))
        assert [row["provisional"] for row in page["data"]] == [provisional] * 2


@pytest.mark.slow
def test_the_csv_is_the_scripts_byte_for_byte(database, tmp_path, merchant, shop):
    answer = merchant.client.get(
        URL, query_string=SEPTEMBER, headers=merchant.headers | {"Accept": "text/csv"}
    )
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert answer.headers["Provisional"] == "false"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["currency"] for row in rows] == ["EUR", "USD"]
    assert list(rows[0]) == list(report.COLUMNS)
    options = ("--from", SEPTEMBER["from"], "--to", SEPTEMBER["to"], "--merchant", shop)
    done = running.script(database, tmp_path, "settlement_report.py", *options)
    assert running.told(done).splitlines() == answer.text.splitlines()


def test_csv_has_no_pages(merchant):
    answer = merchant.client.get(
        URL,
        query_string=SEPTEMBER | {"limit": 1},
        headers=merchant.headers | {"Accept": "text/csv"},
    )
    assert pointers(answer) == ["/limit"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"from": "2025-09-01T00:00:00Z"}, "/to"),
        ({"to": "2025-09-01T00:00:00Z"}, "/from"),
        (SEPTEMBER | {"from": "2025-09-01T00:00:00"}, "/from"),
        (SEPTEMBER | {"to": "2025-09-30"}, "/to"),
        (SEPTEMBER | {"to": "2025-08-30T00:00:00Z"}, "/to"),
        (SEPTEMBER | {"to": "9999-12-31T23:59:59Z"}, "/to"),
        (SEPTEMBER | {"start": "2025-09-01T00:00:00Z"}, "/start"),
    ],
)
def test_what_is_no_period_is_refused(merchant, query, pointer):
    assert pointers(merchant.get(URL, **query)) == [pointer]


def test_the_scope_is_needed(client, shop):
    answer = with_key(client, shop, "payments:read").get(URL, **SEPTEMBER)
    assert refused(answer) == (403, "scope_missing")
