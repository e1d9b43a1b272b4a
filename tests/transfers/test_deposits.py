"""Deposits: each reference of a service is one, however often and however fast it comes."""

from collections import Counter

import pytest

from payments.money import MAX_BALANCE
from tests.checkout import world
from tests.merchants.callers import pointers, refused, told
from tests.transfers import people
from tests.transfers.people import ANN, BOB, CAROL

URL = "/internal/deposits"
FACTS = {"phone": ANN, "amount": 50_00, "currency": "EUR", "external_reference": "bank-17"}


def test_money_arrives_at_a_phone_not_yet_seen(app_context, taxi):
    made = told(taxi.post(URL, FACTS), 201)
    (wallet,) = told(taxi.get("/internal/wallets", phone=ANN))["data"]
    assert made == {
        "object": "deposit",
        "id": made["id"],
        "status": "succeeded",
        "version": 1,
        "amount": 50_00,
        "currency": "EUR",
        "phone": ANN,
        "customer": wallet["customer"],
        "wallet": wallet["id"],
        "external_reference": "bank-17",
        "created_at": made["created_at"],
    }
    assert (wallet["balance"], wallet["held"], wallet["available"]) == (50_00, 0, 50_00)
    assert people.outside("taxi") == -50_00
    assert people.entries(made["id"]) == 1
    world.sound()


def test_another_currency_opens_a_wallet_beside_the_default_ones(app_context, taxi):
    told(taxi.post(URL, FACTS | {"currency": "JPY"}), 201)
    assert (people.purse(ANN, "EUR"), people.purse(ANN, "JPY")) == (0, 50_00)


def test_the_same_facts_again_are_the_same_deposit(app_context, taxi):
    first = told(taxi.post(URL, FACTS), 201)
    as_dialled = FACTS | {"phone": "0151 1234 5678"}
    assert told(taxi.post(URL, FACTS), 200) == first
    assert told(taxi.post(URL, as_dialled), 200) == first
    assert people.purse(ANN) == 50_00


def test_a_replay_with_its_key_is_the_first_answer(app_context, taxi):
    answers = [taxi.post(URL, FACTS, key="k-1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert people.purse(ANN) == 50_00


@pytest.mark.parametrize("other", [{"amount": 50_01}, {"currency": "USD"}, {"phone": CAROL}])
def test_other_facts_are_a_conflict_and_change_nothing(app_context, taxi, other):
    told(taxi.post(URL, FACTS), 201)
    before = people.rows()
    answer = taxi.post(URL, FACTS | other)
    assert refused(answer) == (409, "reference_conflict")
    assert "5000" not in answer.text
    assert people.rows() == before
    assert people.purse(CAROL) is None


def test_a_reference_is_the_services_own(app_context, taxi, food):
    mine, theirs = (told(each.post(URL, FACTS | {"amount": n}), 201) for each, n in
                    ((taxi, 1_00), (food, 2_00)))  # fmt: skip
    assert mine["id"] != theirs["id"]
    assert people.purse(ANN) == 3_00
    for caller, own, other in ((taxi, mine, theirs), (food, theirs, mine)):
        assert told(caller.get(f"{URL}/{own['id']}")) == own
        assert refused(caller.get(f"{URL}/{other['id']}")) == (404, "not_found")
        assert told(caller.get(URL))["data"] == [own]
        assert told(caller.get(URL, external_reference="bank-17"))["data"] == [own]


def test_deposits_are_listed_newest_first_and_by_reference(app_context, taxi):
    made = [
        told(taxi.post(URL, FACTS | {"external_reference": f"b-{n}"}), 201)["id"] for n in range(3)
    ]
    first = told(taxi.get(URL, limit=2))
    rest = told(taxi.get(URL, limit=2, cursor=first["next_cursor"]))
    assert [each["id"] for each in first["data"] + rest["data"]] == made[::-1]
    assert rest["next_cursor"] is None
    found = told(taxi.get(URL, external_reference="b-1"))
    assert ([each["id"] for each in found["data"]], found["next_cursor"]) == ([made[1]], None)
    assert told(taxi.get(URL, external_reference="b-9"))["data"] == []
    foreign = taxi.get(URL, external_reference="b-1", cursor=first["next_cursor"])
    assert refused(foreign) == (422, "invalid_cursor")


def test_a_frozen_wallet_receives(app_context, ann, taxi):
    world.freeze(world.customer(ANN))
    told(taxi.post(URL, FACTS), 201)
    assert people.purse(ANN) == 150_00


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"phone": "not a phone"}, "/phone"),
        ({"phone": "+49"}, "/phone"),
        ({"amount": 0}, "/amount"),
        ({"amount": 10**15 + 1}, "/amount"),
        ({"currency": "XXX"}, "/currency"),
        ({"external_reference": ""}, "/external_reference"),
        ({"external_reference": None}, "/external_reference"),
        ({"reference": "b"}, "/reference"),
    ],
)
def test_a_deposit_that_can_not_be_is_refused_and_changes_nothing(
    app_context, taxi, wrong, pointer
):
    before = people.rows()
    assert pointers(taxi.post(URL, FACTS | wrong)) == [pointer]
    assert people.rows() == before


def test_only_sister_services_deposit(app_context, ann, app, client):
    assert refused(ann.post(URL, FACTS)) == (403, "forbidden")
    unknown = people.service(app, "guessed-" * 5)
    assert refused(unknown.post(URL, FACTS)) == (401, "unauthenticated")
    nameless = client.post(URL, json=FACTS, headers={"X-Internal-Secret": people.TAXI})
    assert refused(nameless) == (400, "idempotency_key_required")
    assert people.purse(ANN) == 100_00


@pytest.mark.parametrize("known", [True, False])
def test_one_reference_at_once_with_many_keys_is_one_deposit(postgres_app, known):
    if known:
        world.customer(ANN)
    answers = people.at_once(
        (lambda: people.service(postgres_app).post(URL, FACTS)) for _ in range(8)
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}
    (made,) = {told(answer, answer.status_code)["id"] for answer in answers}
    assert (people.purse(ANN), people.entries(made)) == (50_00, 1)
    world.sound()


def test_one_reference_at_once_with_other_facts_is_one_deposit(postgres_app):
    def sent(amount: int):
        facts = FACTS | {"amount": amount, "phone": (ANN, BOB)[amount % 2]}
        return lambda: people.service(postgres_app).post(URL, facts)

    answers = people.at_once(sent(amount) for amount in range(1, 9))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    moved = people.only(answers, 201)
    assert people.purse(moved["phone"]) == moved["amount"]
    assert people.rows().customers == 1  # who was refused made nobody
    world.sound()


def test_many_deposits_at_once_for_one_new_phone_all_arrive(postgres_app):
    def sent(number: int):
        facts = FACTS | {"external_reference": f"b-{number}"}
        return lambda: people.service(postgres_app).post(URL, facts)

    answers = people.at_once(sent(number) for number in range(8))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert people.purse(ANN) == 8 * 50_00
    assert people.rows().customers == 1
    world.sound()


def test_what_a_wallet_can_not_hold_is_refused_and_changes_nothing(app_context, taxi):
    world.customer(ANN, has=MAX_BALANCE - 5)
    assert refused(taxi.post(URL, FACTS | {"amount": 6})) == (403, "limit_exceeded")
    assert people.purse(ANN) == MAX_BALANCE - 5
    told(taxi.post(URL, FACTS | {"amount": 5}), 201)
    (wallet,) = told(taxi.get("/internal/wallets", phone=ANN))["data"]
    assert wallet["balance"] == MAX_BALANCE
    world.sound()
