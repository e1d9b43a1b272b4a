"""Statements: every movement with its running balance, in pages as JSON, streamed as CSV."""

import csv
import io

import pytest

from payments import db
from payments.api import csv_streams
from payments.ledger import posting
from tests.customers import people


@pytest.fixture
def busy(app, customer):
    """A wallet with three movements: 50.00 in, 20.00 to somebody, 5.00 in. Gives its id."""
    wallet_id = customer.wallet()["id"]
    people.deposit(app, wallet_id, 50_00)
    theirs = people.wallet_of(app, "+4915155555555")
    with app.app_context(), db.unit_of_work():
        posting.post("transfer", "trf_1", {wallet_id: -20_00, theirs: 20_00})
    people.deposit(app, wallet_id, 5_00)
    return wallet_id


def lines_of(customer, wallet_id, query="") -> dict:
    answer = customer.calls("GET", f"/v1/wallets/{wallet_id}/statement{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Vary"] == "Accept"
    return answer.json


def csv_of(customer, wallet_id, accept="text/csv") -> list[dict[str, str]]:
    answer = customer.calls("GET", f"/v1/wallets/{wallet_id}/statement", Accept=accept)
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_lines_stand_newest_first_with_their_balance(app, customer, busy):
    whole = lines_of(customer, busy)
    assert [(line["amount"], line["balance"]) for line in whole["data"]] == [
        (5_00, 35_00),
        (-20_00, 30_00),
        (50_00, 50_00),
    ]
    newest, transfer, _ = whole["data"]
    assert sorted(newest) == sorted(
        "object id entry kind subject counterparty amount currency balance created_at".split()
    )
    assert (newest["kind"], newest["counterparty"]) == ("deposit", "external:taxi")
    (other,) = people.run(app, "SELECT id FROM customers WHERE phone = '+4915155555555'")
    assert (transfer["kind"], transfer["subject"]) == ("transfer", "trf_1")
    assert (transfer["counterparty"], transfer["currency"]) == (other.id, "EUR")
    assert whole["next_cursor"] is None


def test_pages_join_without_a_gap(customer, busy):
    whole = lines_of(customer, busy)["data"]
    first = lines_of(customer, busy, "?limit=2")
    rest = lines_of(customer, busy, f"?limit=2&cursor={first['next_cursor']}")
    assert first["data"] + rest["data"] == whole
    assert rest["next_cursor"] is None


def test_a_cursor_belongs_to_its_wallet(customer, busy):
    cursor = lines_of(customer, busy, "?limit=1")["next_cursor"]
    other = customer.calls("POST", "/v1/wallets", {"currency": "USD"}).json["id"]
    refused = customer.calls("GET", f"/v1/wallets/{other}/statement?limit=1&cursor={cursor}")
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_cursor")


def test_csv_is_the_json_oldest_first(customer, busy):
    expected = [
        {name: str(value) for name, value in line.items() if name != "object"}
        for line in reversed(lines_of(customer, busy)["data"])
    ]
    assert csv_of(customer, busy) == expected


def test_csv_is_an_attachment_that_nobody_keeps(customer, busy):
    answer = customer.calls("GET", f"/v1/wallets/{busy}/statement", Accept="text/csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f"attachment; filename=statement-{busy}.csv"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Accept"
    assert "Content-Length" not in answer.headers
    assert "ETag" not in answer.headers
    assert answer.text.splitlines()[0] == (
        "id,entry,kind,subject,counterparty,amount,currency,balance,created_at"
    )
    assert answer.text.endswith("\r\n")


PREFERRED = {
    "text/csv": "text/csv",
    "text/csv, application/json;q=0.5": "text/csv",
    "text/*": "text/csv",
    "application/json, text/csv;q=0.9": "application/json",
    "*/*": "application/json",
    "text/html": "application/json",
    "": "application/json",
}


def test_who_prefers_csv_gets_it(customer):
    path = f"/v1/wallets/{customer.wallet()['id']}/statement"
    got = {accept: customer.calls("GET", path, Accept=accept).mimetype for accept in PREFERRED}
    assert got == PREFERRED


def test_an_empty_wallet_has_an_empty_statement(customer):
    wallet_id = customer.wallet()["id"]
    assert lines_of(customer, wallet_id) == {"data": [], "next_cursor": None}
    assert csv_of(customer, wallet_id) == []


def test_csv_has_no_pages(customer, busy):
    path = f"/v1/wallets/{busy}/statement?limit=2"
    refused = customer.calls("GET", path, Accept="text/csv")
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    assert refused.json["errors"][0]["pointer"] == "/limit"


def test_a_long_statement_is_streamed_in_parts_of_one_moment(app, customer, monkeypatch):
    monkeypatch.setattr(csv_streams, "ROWS_AT_ONCE", 10)
    wallet_id = customer.wallet()["id"]
    theirs = people.wallet_of(app, "+4915155555555")
    people.deposit(app, wallet_id, 1000)
    with app.app_context(), db.unit_of_work():
        for number in range(45):
            posting.post("transfer", f"trf_{number}", {wallet_id: -1, theirs: 1})
    answer = customer.calls("GET", f"/v1/wallets/{wallet_id}/statement", Accept="text/csv")
    parts = iter(answer.iter_encoded())
    first = next(parts)
    assert len(first.splitlines()) == 10
    people.deposit(app, wallet_id, 5)  # too late for this statement
    text = (first + b"".join(parts)).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 46
    assert rows[-1]["balance"] == str(1000 - 45)


def test_a_client_that_hangs_up_leaves_no_transaction_behind(app, customer, busy, monkeypatch):
    monkeypatch.setattr(csv_streams, "ROWS_AT_ONCE", 1)
    answer = customer.calls("GET", f"/v1/wallets/{busy}/statement", Accept="text/csv")
    next(iter(answer.iter_encoded()))
    assert app.extensions["payments"].engine.pool.checkedout() == 1
    answer.close()
    assert app.extensions["payments"].engine.pool.checkedout() == 0
    people.deposit(app, busy, 1)


def test_a_head_request_streams_nothing(app, customer, busy, monkeypatch):
    monkeypatch.setattr(csv_streams, "ROWS_AT_ONCE", 1)
    answer = customer.calls("HEAD", f"/v1/wallets/{busy}/statement", Accept="text/csv")
    assert (answer.status_code, answer.data) == (200, b"")
    answer.close()
    assert app.extensions["payments"].engine.pool.checkedout() == 0


@pytest.mark.parametrize("lead", list("=+-@\t\r\n"))
def test_a_cell_is_never_a_formula(lead):
    text = csv_streams.line([f"{lead}cmd|' /C calc'!A0", -5, None, "plain"])
    (row,) = csv.reader(io.StringIO(text, newline=""))
    assert row == [f"'{lead}cmd|' /C calc'!A0", "-5", "", "plain"]


def test_few_tables_are_sent_at_a_time(customer, busy):
    """A thread sends each, however slowly it is read; the others are there for what is short."""
    path = f"/v1/wallets/{busy}/statement"
    open_ = [customer.calls("GET", path, Accept="text/csv") for _ in range(csv_streams.AT_ONCE)]
    refused = customer.calls("GET", path, Accept="text/csv")
    assert (refused.status_code, refused.json["code"]) == (503, "busy")
    assert refused.headers["Retry-After"] == "1"
    assert customer.calls("GET", path).status_code == 200
    open_.pop().close()
    assert customer.calls("GET", path, Accept="text/csv").status_code == 200
    for answer in open_:
        answer.close()
