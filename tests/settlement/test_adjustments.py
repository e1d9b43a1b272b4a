"""Adjustments: corrections by two operators, which overdraw nobody."""

import pytest

from payments import ids
from payments.ledger import accounts
from payments.settlement import report
from tests.checkout import world
from tests.merchants.callers import Caller, pointers, refused, told
from tests.settlement.operators import SETTINGS, named, steps
from tests.settlement.test_report import lately

URL = "/admin/adjustments"


@pytest.fixture
def app(make_app):
    return make_app(**SETTINGS)


@pytest.fixture
def ann(client) -> Caller:
    return named(client, "ann")


@pytest.fixture
def bob(client) -> Caller:
    return named(client, "bob")


@pytest.fixture
def payer(app_context) -> str:
    return world.customer(has=100_00)


@pytest.fixture
def wallet(payer) -> str:
    return accounts.of_owner(payer, "customer")[0].id


@pytest.fixture(autouse=True)
def sound(app_context):
    yield
    world.sound()


def wants(debit: str, credit: str, *, amount: int = 5_00, **more) -> dict:
    return {"debit": debit, "credit": credit, "amount": amount, "currency": "EUR",
            "reason": "counted twice", **more}  # fmt: skip


def proposed(by: Caller, debit: str, credit: str, **more) -> dict:
    return told(by.post(URL, wants(debit, credit, **more)), 202)


def approve(by: Caller, adjustment: dict):
    return by.post(f"{URL}/{adjustment['id']}/approve")


def test_money_moves_only_when_a_second_one_approves(ann, bob, payer, wallet):
    made = proposed(ann, wallet, "external:bank")
    assert (made["status"], made["reason"]) == ("proposed", "counted twice")
    assert world.purse(payer)[0] == 100_00
    assert refused(approve(ann, made)) == (403, "second_operator_needed")
    done = told(approve(bob, made))
    assert (done["status"], done["decided_by"], done["version"]) == ("approved", "operator:bob", 2)
    assert world.purse(payer)[0] == 95_00
    assert world.purse("system", "external:bank")[0] == -95_00
    assert refused(approve(bob, made)) == (409, "invalid_state")
    assert told(ann.get(f"{URL}/{made['id']}")) == done
    assert steps(ann, made["id"]) == [
        ("operator:ann", "adjustment.propose", "done"),
        ("operator:ann", "adjustment.approve", "second_operator_needed"),
        ("operator:bob", "adjustment.approve", "done"),
        ("operator:bob", "adjustment.approve", "invalid_state"),
    ]


def test_between_any_two_parties_and_in_its_column(ann, bob, payer, wallet):
    shop = world.merchant()
    for debit, credit, amount in (
        ("external:adjustment", shop, 9_00),
        (shop, wallet, 2_00),
        (shop, "fees", 1_00),
        ("fees", "external:adjustment", 50),
    ):
        told(approve(bob, proposed(ann, debit, credit, amount=amount)))
    assert world.purse(shop, "merchant")[0] == 6_00
    assert world.purse(payer)[0] == 102_00
    assert world.fees_taken() == 50
    (row,) = report.of_merchant(lately(), shop)
    assert (row.adjustments, row.closing) == (6_00, 6_00)


def test_it_overdraws_nobody_and_takes_nothing_from_a_frozen_wallet(ann, bob, payer, wallet):
    shop = world.merchant()
    too_much = proposed(ann, wallet, "fees", amount=100_01)
    answer = approve(bob, too_much)
    assert refused(answer) == (402, "insufficient_funds")
    assert "10000" not in answer.text
    assert refused(approve(bob, proposed(ann, shop, "fees"))) == (
        402,
        "merchant_balance_insufficient",
    )
    frozen = proposed(ann, wallet, "fees")
    world.freeze(payer)
    assert refused(approve(bob, frozen)) == (403, "wallet_frozen")
    assert told(ann.get(URL, status="proposed"))["data"][0]["id"] == frozen["id"]
    assert world.purse(payer)[0] == 100_00


def test_who_is_not_there_is_not_found(ann, bob, wallet):
    for unknown in (ids.new("wal"), ids.new("mer"), "external:nobody"):
        assert refused(ann.post(URL, wants(unknown, "fees"))) == (404, "not_found")
        assert refused(ann.post(URL, wants("fees", unknown))) == (404, "not_found")


def test_what_can_be_no_entry_is_refused(ann, wallet):
    assert pointers(ann.post(URL, wants("fees", "fees"))) == ["/credit"]
    assert pointers(ann.post(URL, wants(wallet, "fees", currency="USD"))) == ["/debit"]
    assert pointers(ann.post(URL, wants("fees", wallet, currency="USD"))) == ["/credit"]
    assert pointers(ann.post(URL, wants("wal_1", "fees"))) == ["/debit"]
    assert told(ann.get(URL))["data"] == []


def test_a_rejected_one_is_never_made(ann, bob, payer, wallet):
    made = proposed(ann, wallet, "fees")
    done = told(bob.post(f"{URL}/{made['id']}/reject", {"reason": "it was right"}))
    assert (done["status"], done["decided_by"]) == ("rejected", "operator:bob")
    assert refused(approve(bob, made)) == (409, "invalid_state")
    assert world.purse(payer)[0] == 100_00


def test_a_list_in_pages(ann, bob, wallet):
    made = [proposed(ann, wallet, "fees", amount=n)["id"] for n in (1, 2, 3)]
    page = told(ann.get(URL, limit=2))
    rest = told(ann.get(URL, limit=2, cursor=page["next_cursor"]))
    assert [one["id"] for one in page["data"] + rest["data"]] == made[::-1]
    assert told(ann.get(URL, status="approved"))["data"] == []
