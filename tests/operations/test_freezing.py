"""A frozen wallet receives, its holds end as ever, and it starts no debit."""

from functools import partial

import pytest

from payments import ids
from payments.errors import NotFound
from payments.ledger import accounts
from payments.merchants import applications
from payments.operations import freezing
from tests.checkout import world
from tests.merchants.callers import Caller, customer, operator, refused, service, told, trail
from tests.merchants.callers import with_key as key_of

ANN, BOB = "+4915112345678", "+4915112345679"


@pytest.fixture
def ann(app_context, client) -> Caller:
    return customer(client, world.customer(ANN, has=100_00))


@pytest.fixture
def wallet(ann) -> str:
    return told(ann.get("/v1/wallets"))["data"][0]["id"]


@pytest.fixture
def oncall(client) -> Caller:
    return operator(client)


def freezes(oncall: Caller, wallet: str, how: str = "freeze") -> dict:
    return told(oncall.post(f"/admin/wallets/{wallet}/{how}", {"reason": "a stolen phone"}))


def test_it_starts_no_debit(client, ann, oncall, wallet):
    shop = world.merchant()
    asked = world.asks(shop, 20_00, customer_phone=ANN)
    held = world.asks(shop, 20_00, customer_phone=ANN, capture="manual")
    world.customer(BOB)
    freezes(oncall, wallet)
    moves = [
        ann.post(f"/v1/payments/{asked.id}/confirm"),
        ann.post(f"/v1/payments/{held.id}/confirm"),
        ann.post("/v1/pay", {"code": asked.code}),
        ann.post("/v1/transfers", {"to_phone": BOB, "amount": 1, "currency": "EUR"}),
        service(client).post(
            "/internal/transfers",
            {"from_phone": ANN, "to_phone": BOB, "amount": 1, "currency": "EUR", "reference": "r"},
        ),
    ]
    assert [refused(answer) for answer in moves] == [(403, "wallet_frozen")] * len(moves)
    assert told(ann.get(f"/v1/wallets/{wallet}"))["balance"] == 100_00
    freezes(oncall, wallet, "unfreeze")
    told(ann.post(f"/v1/payments/{asked.id}/confirm"))
    world.sound()


def test_it_receives_and_its_holds_end_as_ever(client, ann, oncall, wallet):
    shop = world.merchant()
    paid = world.asks(shop, 10_00, customer_phone=ANN)
    taken, given = (world.asks(shop, 20_00, customer_phone=ANN, capture="manual") for _ in range(2))
    for each in (paid, taken, given):
        told(ann.post(f"/v1/payments/{each.id}/confirm"))
    freezes(oncall, wallet)
    merchant = key_of(client, shop)
    told(merchant.post(f"/v1/payments/{taken.id}/capture", {"amount": 15_00}))
    told(merchant.post(f"/v1/payments/{given.id}/cancel"))
    told(merchant.post("/v1/refunds", {"payment": paid.id, "amount": 5_00}), 201)
    arrived = {"phone": ANN, "amount": 7_00, "currency": "EUR", "external_reference": "x"}
    told(service(client).post("/internal/deposits", arrived), 201)
    bob = customer(client, world.customer(BOB, has=3_00))
    told(bob.post("/v1/transfers", {"to_phone": ANN, "amount": 3_00, "currency": "EUR"}), 201)
    shown = told(ann.get(f"/v1/wallets/{wallet}"))
    assert (shown["status"], shown["held"]) == ("frozen", 0)
    assert shown["balance"] == 100_00 - 10_00 - 15_00 + 5_00 + 7_00 + 3_00
    world.sound()


def test_twice_is_once_and_each_call_stands_in_the_trail(app, ann, oncall, wallet):
    first, again = freezes(oncall, wallet), freezes(oncall, wallet)
    assert again == first
    assert (first["status"], first["customer"]) == ("frozen", ann.get("/v1/me").json["id"])
    assert told(oncall.get(f"/admin/wallets/{wallet}")) == first
    thawed = freezes(oncall, wallet, "unfreeze")
    assert freezes(oncall, wallet, "unfreeze") == thawed
    assert (thawed["status"], thawed["frozen_at"]) == ("active", None)
    assert thawed["version"] == first["version"] + 1
    lines = told(oncall.get("/admin/audit", subject=wallet))["data"][::-1]
    assert [(one["action"], one["before"]["status"], one["after"]["status"]) for one in lines] == [
        ("wallet.freeze", "active", "frozen"),
        ("wallet.freeze", "frozen", "frozen"),
        ("wallet.unfreeze", "frozen", "active"),
        ("wallet.unfreeze", "active", "active"),
    ]
    assert {one["after"]["reason"] for one in lines} == {"a stolen phone"}
    assert lines[0]["after"]["frozen_at"] == first["frozen_at"]


def test_the_customer_sees_the_status_and_not_the_reason(ann, oncall, wallet):
    freezes(oncall, wallet)
    answer = ann.get(f"/v1/wallets/{wallet}")
    assert told(answer)["status"] == "frozen"
    assert "stolen" not in answer.text and "frozen_at" not in told(answer)


def test_only_a_wallet_is_frozen(app, ann, oncall):
    shop = world.merchant()
    account = world.did(lambda: applications.account_of(shop, "EUR"))
    for unknown in (ids.new("wal"), account):
        with pytest.raises(NotFound):
            world.did(partial(freezing.freeze, unknown, "tests"))
    row = accounts.get(account)
    assert row is not None and row.frozen_at is None
    gone = ids.new("wal")
    assert refused(oncall.post(f"/admin/wallets/{gone}/freeze", {"reason": "x"}))[0] == 404
    assert [row.outcome for row in trail(app, gone)] == ["not_found"]
