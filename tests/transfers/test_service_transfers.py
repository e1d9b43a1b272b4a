"""Transfers that sister services ask for, and the wallets they may look at."""

from collections import Counter

import pytest

from tests.checkout import world
from tests.merchants.callers import pointers, refused, told
from tests.transfers import people
from tests.transfers.people import ANN, BOB, CAROL

URL = "/internal/transfers"
FARE = {
    "from_phone": ANN,
    "to_phone": BOB,
    "amount": 30_00,
    "currency": "EUR",
    "reference": "ride-17",
}


def test_a_service_moves_money_between_two_customers(app_context, ann, bob, taxi):
    made = told(taxi.post(URL, FARE), 201)
    assert {name: made[name] for name in FARE} == FARE
    assert (made["object"], made["status"], made["note"]) == ("transfer", "succeeded", None)
    assert (people.purse(ANN), people.purse(BOB)) == (70_00, 30_00)
    assert told(taxi.get(f"{URL}/{made['id']}")) == made
    assert told(ann.get(f"/v1/transfers/{made['id']}")) == made | {"direction": "out"}
    assert told(bob.get("/v1/transfers"))["data"] == [made | {"direction": "in"}]
    assert world.events(made["id"]) == ["transfer.succeeded"]
    world.sound()


def test_who_is_not_yet_seen_gets_a_wallet(app_context, ann, taxi):
    told(taxi.post(URL, FARE | {"to_phone": CAROL}), 201)
    assert people.purse(CAROL) == 30_00


def test_the_same_facts_again_are_the_same_transfer(app_context, ann, bob, taxi):
    first = told(taxi.post(URL, FARE), 201)
    assert told(taxi.post(URL, FARE), 200) == first
    assert told(taxi.post(URL, FARE | {"from_phone": "0151 12345678"}), 200) == first
    assert people.purse(BOB) == 30_00


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 30_01},
        {"currency": "USD"},
        {"to_phone": CAROL},
        {"from_phone": CAROL},
        {"from_phone": BOB, "to_phone": ANN},
    ],
)
def test_other_facts_are_a_conflict_and_change_nothing(app_context, ann, bob, taxi, other):
    told(taxi.post(URL, FARE), 201)
    before = people.rows()
    answer = taxi.post(URL, FARE | other)
    assert refused(answer) == (409, "reference_conflict")
    assert "3000" not in answer.text
    assert people.rows() == before


def test_without_a_reference_each_is_one_of_its_own(app_context, ann, bob, taxi):
    plain = {name: value for name, value in FARE.items() if name != "reference"}
    ids = {told(taxi.post(URL, plain), 201)["id"] for _ in range(2)}
    assert len(ids) == 2
    assert told(taxi.post(URL, plain | {"reference": None}), 201)["reference"] is None
    assert people.purse(BOB) == 90_00


def test_a_reference_is_the_services_own(app_context, ann, bob, taxi, food):
    mine, theirs = told(taxi.post(URL, FARE), 201), told(food.post(URL, FARE), 201)
    assert mine["id"] != theirs["id"]
    for caller, own, other in ((taxi, mine, theirs), (food, theirs, mine)):
        assert told(caller.get(URL))["data"] == [own]
        assert told(caller.get(URL, reference="ride-17"))["data"] == [own]
        assert refused(caller.get(f"{URL}/{other['id']}")) == (404, "not_found")


def test_a_customers_own_transfer_is_no_services(app_context, ann, bob, taxi):
    body = {"to_phone": BOB, "amount": 1_00, "currency": "EUR"}
    sent = told(ann.post("/v1/transfers", body), 201)
    assert refused(taxi.get(f"{URL}/{sent['id']}")) == (404, "not_found")
    assert told(taxi.get(URL))["data"] == []


def test_they_are_listed_newest_first_and_by_reference(app_context, ann, bob, taxi):
    made = [
        told(taxi.post(URL, FARE | {"reference": f"r-{n}", "amount": 1}), 201)["id"]
        for n in range(3)
    ]
    first = told(taxi.get(URL, limit=2))
    rest = told(taxi.get(URL, limit=2, cursor=first["next_cursor"]))
    assert [each["id"] for each in first["data"] + rest["data"]] == made[::-1]
    found = told(taxi.get(URL, reference="r-1"))
    assert ([each["id"] for each in found["data"]], found["next_cursor"]) == ([made[1]], None)


@pytest.mark.parametrize("sender", [ANN, CAROL])
@pytest.mark.parametrize("currency", ["EUR", "USD"])
def test_a_refusal_never_says_what_a_wallet_has(app_context, ann, taxi, sender, currency):
    before = people.rows()
    asked = FARE | {"from_phone": sender, "amount": 123_45, "currency": currency}
    answer = taxi.post(URL, asked)
    assert refused(answer) == (402, "insufficient_funds")
    assert answer.json["detail"] == (
        "The wallet's available balance is below the amount. Nothing was moved. Add funds, or use"
        " a smaller amount."
    )
    assert people.rows() == before  # nobody was made either
    world.customer(sender, has=200_00, currency=currency)
    told(taxi.post(URL, asked), 201)


def test_a_frozen_wallet_sends_nothing(app_context, ann, bob, taxi):
    world.freeze(world.customer(ANN))
    assert refused(taxi.post(URL, FARE)) == (403, "wallet_frozen")
    assert people.purse(ANN) == 100_00


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"to_phone": ANN}, "/to_phone"),
        ({"to_phone": "0151 12345678"}, "/to_phone"),
        ({"from_phone": "x" * 9}, "/from_phone"),
        ({"amount": -1}, "/amount"),
        ({"reference": ""}, "/reference"),
        ({"note": "tip"}, "/note"),
    ],
)
def test_a_transfer_that_can_not_be_is_refused(app_context, ann, taxi, wrong, pointer):
    before = people.rows()
    assert pointers(taxi.post(URL, FARE | wrong)) == [pointer]
    assert people.rows() == before


def test_customers_have_no_business_here(app_context, ann):
    assert refused(ann.post(URL, FARE)) == (403, "forbidden")
    assert refused(ann.get("/internal/wallets", phone=ANN)) == (403, "forbidden")


def test_a_services_retry_under_its_next_secret_is_the_same_intent(app_context, ann, bob, make_app):
    rotated = make_app(
        **people.SETTINGS | {"INTERNAL_API_SECRET": f"taxi:{people.FOOD},taxi:{people.TAXI}"}
    )
    with rotated.app_context():
        by_old = people.service(rotated, people.TAXI).post(URL, FARE, key="k-1")
        by_new = people.service(rotated, people.FOOD).post(URL, FARE, key="k-1")
    assert told(by_new, 201) == told(by_old, 201)
    assert by_new.headers["Idempotent-Replayed"] == "true"


def test_wallets_of_a_phone_the_default_currency_first(app_context, ann, taxi):
    world.customer(ANN, has=7, currency="USD")
    world.customer(ANN, has=9, currency="JPY")
    wallets = told(taxi.get("/internal/wallets", phone="0151 12345678"))
    shown = [(each["currency"], each["balance"]) for each in wallets["data"]]
    assert shown == [("EUR", 100_00), ("JPY", 9), ("USD", 7)]
    assert wallets["next_cursor"] is None
    assert wallets["data"][0] == {
        "object": "wallet",
        "id": wallets["data"][0]["id"],
        "status": "active",
        "version": wallets["data"][0]["version"],
        "customer": world.customer(ANN),
        "currency": "EUR",
        "balance": 100_00,
        "held": 0,
        "available": 100_00,
        "created_at": wallets["data"][0]["created_at"],
    }
    first = told(taxi.get("/internal/wallets", phone=ANN, limit=2))
    rest = told(taxi.get("/internal/wallets", phone=ANN, limit=2, cursor=first["next_cursor"]))
    assert first["data"] + rest["data"] == wallets["data"]
    foreign = taxi.get("/internal/wallets", phone=BOB, cursor=first["next_cursor"])
    assert refused(foreign) == (422, "invalid_cursor")


def test_looking_makes_nobody(app_context, taxi):
    before = people.rows()
    assert told(taxi.get("/internal/wallets", phone=CAROL)) == {"data": [], "next_cursor": None}
    assert people.rows() == before
    assert pointers(taxi.get("/internal/wallets")) == ["/phone"]
    assert pointers(taxi.get("/internal/wallets", phone="x")) == ["/phone"]


def test_one_reference_at_once_with_many_keys_is_one_transfer(postgres_app):
    world.customer(ANN, has=100_00)
    answers = people.at_once(
        (lambda: people.service(postgres_app).post(URL, FARE)) for _ in range(8)
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}
    assert len({told(answer, answer.status_code)["id"] for answer in answers}) == 1
    assert (people.purse(ANN), people.purse(BOB)) == (70_00, 30_00)
    world.sound()


def test_new_phones_in_both_directions_at_once_never_lock_themselves_out(postgres_app):
    def asked(number: int):
        there, back = ((BOB, CAROL), (CAROL, BOB))[number % 2]
        fare = {"from_phone": there, "to_phone": back, "reference": f"r-{number}"}
        return lambda: people.service(postgres_app).post(URL, FARE | fare)

    answers = people.at_once(asked(number) for number in range(8))
    # Nobody has money: each made both people, found that out, and made nobody.
    assert [refused(answer) for answer in answers] == [(402, "insufficient_funds")] * 8
    assert people.rows().customers == 0
