"""Transfers of customers: at once, seen by both sides and nobody else."""

from collections import Counter

import pytest

from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import pointers, refused, told
from tests.transfers import people
from tests.transfers.people import ANN, BOB, CAROL

URL = "/v1/transfers"
TO_BOB = {"to_phone": BOB, "amount": 30_00, "currency": "EUR"}


def test_money_goes_at_once_and_both_sides_see_it(app_context, ann, bob):
    sent = told(ann.post(URL, TO_BOB | {"note": "Pizza\nand wine 🍷"}), 201)
    ids = {phone: world.customer(phone) for phone in (ANN, BOB)}
    assert sent == {
        "object": "transfer",
        "id": sent["id"],
        "status": "succeeded",
        "version": 1,
        "amount": 30_00,
        "currency": "EUR",
        "sender": ids[ANN],
        "recipient": ids[BOB],
        "from_phone": ANN,
        "to_phone": BOB,
        "direction": "out",
        "note": "Pizza\nand wine 🍷",
        "reference": None,
        "created_at": sent["created_at"],
    }
    assert (people.purse(ANN), people.purse(BOB)) == (70_00, 30_00)
    received = sent | {"direction": "in"}
    assert told(ann.get(f"{URL}/{sent['id']}")) == sent
    assert told(bob.get(f"{URL}/{sent['id']}")) == received
    assert told(ann.get(URL))["data"] == [sent]
    assert told(bob.get(URL))["data"] == [received]
    assert people.entries(sent["id"]) == 1
    world.sound()


def test_the_event_is_nobodys_and_has_no_phone(app_context, ann, bob):
    sent = told(ann.post(URL, TO_BOB), 201)
    assert world.events(sent["id"]) == ["transfer.succeeded"]
    shown = {"from_phone", "to_phone", "direction"}
    assert world.told(sent["id"]) == [
        {name: value for name, value in sent.items() if name not in shown}
    ]


def test_it_is_not_found_by_anyone_else(app_context, app, ann, bob):
    sent = told(ann.post(URL, TO_BOB), 201)
    carol = people.customer(app, CAROL, has=10_00)
    assert refused(carol.get(f"{URL}/{sent['id']}")) == (404, "not_found")
    assert told(carol.get(URL))["data"] == []
    shop = callers.with_key(app.test_client(), world.merchant())
    assert refused(shop.get(f"{URL}/{sent['id']}")) == (403, "forbidden")
    assert refused(shop.post(URL, TO_BOB)) == (403, "forbidden")


def test_a_recipient_without_a_wallet_in_the_currency_gets_one(app_context, app, bob):
    rich = people.customer(app, ANN, has=5_000, currency="JPY")
    told(rich.post(URL, TO_BOB | {"amount": 1_200, "currency": "JPY"}), 201)
    assert (people.purse(ANN, "JPY"), people.purse(BOB, "JPY")) == (3_800, 1_200)


def test_a_number_as_dialled_is_the_same_phone(app_context, ann, bob):
    assert told(ann.post(URL, TO_BOB | {"to_phone": "0151-8765 4321"}), 201)["to_phone"] == BOB


def test_they_are_filtered_by_reference(app_context, taxi, ann, bob):
    rides = []
    for number in range(3):
        body = {"from_phone": ANN, "to_phone": BOB, "amount": 1, "currency": "EUR"}
        moved = taxi.post("/internal/transfers", body | {"reference": f"ride-{number}"})
        rides.append(told(moved, 201)["id"])
    told(ann.post(URL, TO_BOB), 201)
    for who in (ann, bob):
        assert [each["id"] for each in told(who.get(URL, reference="ride-1"))["data"]] == [rides[1]]
        assert told(who.get(URL, reference="ride-9"))["data"] == []
    assert len(told(ann.get(URL))["data"]) == 4
    cursor = told(ann.get(URL, limit=1))["next_cursor"]
    foreign = ann.get(URL, limit=1, cursor=cursor, reference="ride-1")
    assert refused(foreign) == (422, "invalid_cursor")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"to_phone": ANN}, "/to_phone"),
        ({"to_phone": CAROL}, "/to_phone"),
        ({"to_phone": "nobody"}, "/to_phone"),
        ({"amount": 0}, "/amount"),
        ({"amount": "5"}, "/amount"),
        ({"currency": "eur"}, "/currency"),
        ({"note": ""}, "/note"),
        ({"note": "x" * 1001}, "/note"),
        ({"reference": "r"}, "/reference"),
        ({"from_phone": BOB}, "/from_phone"),
    ],
)
def test_a_transfer_that_can_not_be_is_refused_and_changes_nothing(
    app_context, ann, bob, wrong, pointer
):
    before = people.rows()
    assert pointers(ann.post(URL, TO_BOB | wrong)) == [pointer]
    assert people.rows() == before
    assert people.purse(ANN) == 100_00


def test_too_little_money_is_said_to_its_owner_and_nothing_moves(app_context, ann, bob):
    before = people.rows()
    answer = ann.post(URL, TO_BOB | {"amount": 100_01})
    assert refused(answer) == (402, "insufficient_funds")
    assert "10000 EUR" in answer.json["detail"]
    other = ann.post(URL, TO_BOB | {"currency": "USD"})
    assert refused(other) == (402, "insufficient_funds")
    assert people.rows() == before
    told(ann.post(URL, TO_BOB | {"amount": 100_00}), 201)
    assert people.purse(ANN) == 0


def test_who_can_not_pay_does_not_learn_who_is_a_customer_here(app_context, ann, bob):
    answers = [ann.post(URL, TO_BOB | {"to_phone": p, "amount": 200_00}) for p in (BOB, CAROL)]
    assert [refused(answer) for answer in answers] == [(402, "insufficient_funds")] * 2
    assert answers[0].json["detail"] == answers[1].json["detail"]


def test_what_is_held_can_not_be_sent(app_context, app, ann, bob):
    shop = world.merchant()
    payment = world.asks(shop, 80_00, capture="manual")
    world.confirms(world.customer(ANN), payment.id)
    assert refused(ann.post(URL, TO_BOB)) == (402, "insufficient_funds")
    told(ann.post(URL, TO_BOB | {"amount": 20_00}), 201)


def test_a_frozen_wallet_sends_nothing_and_receives(app_context, ann, bob):
    world.freeze(world.customer(ANN))
    assert refused(ann.post(URL, TO_BOB)) == (403, "wallet_frozen")
    assert refused(ann.post(URL, TO_BOB | {"amount": 200_00})) == (403, "wallet_frozen")
    assert people.purse(ANN) == 100_00
    world.freeze(world.customer(ANN), on=False)
    world.freeze(world.customer(BOB))
    told(ann.post(URL, TO_BOB), 201)
    assert people.purse(BOB) == 30_00


def test_it_needs_a_key_and_a_repeat_sends_once(app_context, ann, bob):
    nameless = ann.client.post(URL, json=TO_BOB, headers=ann.headers)
    assert refused(nameless) == (400, "idempotency_key_required")
    first, again = (ann.post(URL, TO_BOB, key="k-1") for _ in range(2))
    assert told(again, 201) == told(first, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    reused = ann.post(URL, TO_BOB | {"amount": 1}, key="k-1")
    assert refused(reused) == (422, "idempotency_key_reused")
    assert people.purse(BOB) == 30_00


def test_a_refused_transfer_may_be_sent_again_with_its_key(app_context, app, ann, bob):
    much = TO_BOB | {"amount": 150_00}
    assert refused(ann.post(URL, much, key="k-1")) == (402, "insufficient_funds")
    world.customer(ANN, has=50_00)
    told(ann.post(URL, much, key="k-1"), 201)
    assert (people.purse(ANN), people.purse(BOB)) == (0, 150_00)


def test_both_directions_are_one_list_newest_first(app_context, app, ann, bob):
    made = []
    for number in range(5):
        sender, to_phone = ((ann, BOB), (bob, ANN))[number % 2]
        body = {"to_phone": to_phone, "amount": 1_00, "currency": "EUR"}
        made.append(told(sender.post(URL, body), 201)["id"])
    people.customer(app, CAROL, has=1_00).post(URL, TO_BOB | {"amount": 1_00})
    pages = [told(ann.get(URL, limit=2))]
    while pages[-1]["next_cursor"]:
        pages.append(told(ann.get(URL, limit=2, cursor=pages[-1]["next_cursor"])))
    seen = [each for page in pages for each in page["data"]]
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert [each["id"] for each in seen] == made[::-1]
    assert [each["direction"] for each in seen] == ["out", "in", "out", "in", "out"]
    foreign = bob.get(URL, limit=2, cursor=pages[0]["next_cursor"])
    assert refused(foreign) == (422, "invalid_cursor")


def test_the_same_money_is_not_sent_twice_at_once(postgres_app):
    people.customer(postgres_app, BOB)
    sender = people.customer(postgres_app, ANN, has=100_00)
    answers = people.at_once(
        (lambda: callers.Caller(postgres_app.test_client(), **sender.headers).post(URL, TO_BOB))
        for _ in range(8)
    )
    assert Counter(answer.status_code for answer in answers) == {201: 3, 402: 5}
    assert (people.purse(ANN), people.purse(BOB)) == (10_00, 90_00)
    world.sound()


def test_money_back_and_forth_at_once_never_locks_itself_out(postgres_app):
    ways = [
        (people.customer(postgres_app, phone, has=100_00), to_phone)
        for phone, to_phone in ((ANN, BOB), (BOB, ANN))
    ]

    def sends(number: int):
        sender, to_phone = ways[number % 2]
        client = postgres_app.test_client()
        body = {"to_phone": to_phone, "amount": 1_00, "currency": "EUR"}
        return lambda: [
            callers.Caller(client, **sender.headers).post(URL, body).status_code for _ in range(5)
        ]

    statuses = people.at_once(sends(number) for number in range(8))
    assert statuses == [[201] * 5] * 8
    assert (people.purse(ANN), people.purse(BOB)) == (100_00, 100_00)
    world.sound()
