"""Lists, conditional reads and the balance, over HTTP."""

from payments.ledger import accounts
from tests.checkout import world
from tests.checkout.callers import refused, told

PHONE = "+4915112345678"
NEW = {"amount": 20_00, "currency": "EUR"}
MERCHANTS_OWN = {"fee", "metadata"}


def test_lists_are_filtered_and_paged(merchant, customer):
    made = [
        told(merchant.post("/v1/payments", NEW | {"reference": name}), 201)["id"]
        for name in ("A", "B", "A", "A")
    ]
    told(customer.post(f"/v1/payments/{made[0]}/confirm"))

    def ids_of(page) -> list[str]:
        return [payment["id"] for payment in told(page)["data"]]

    assert ids_of(merchant.get("/v1/payments")) == made[::-1]
    assert ids_of(merchant.get("/v1/payments", status="succeeded")) == [made[0]]
    assert ids_of(merchant.get("/v1/payments", customer=customer.id)) == [made[0]]
    first = merchant.get("/v1/payments", reference="A", limit=2)
    assert ids_of(first) == [made[3], made[2]]
    cursor = told(first)["next_cursor"]
    last = merchant.get("/v1/payments", reference="A", limit=2, cursor=cursor)
    assert (ids_of(last), told(last)["next_cursor"]) == ([made[0]], None)
    foreign = merchant.get("/v1/payments", reference="B", cursor=cursor)
    assert refused(foreign) == (422, "invalid_cursor")
    since = told(merchant.get(f"/v1/payments/{made[1]}"))["created_at"]
    until = told(merchant.get(f"/v1/payments/{made[3]}"))["created_at"]
    between = merchant.get("/v1/payments", created_from=since, created_to=until)
    assert ids_of(between) == [made[2], made[1]]
    assert ids_of(customer.get("/v1/me/payments")) == [made[0]]
    assert ids_of(customer.get("/v1/me/payments", status="pending")) == []
    for query in (
        {"status": "done"},
        {"customer": "somebody"},
        {"created_from": "2026-03-01T09:00:00"},
        {"colour": "red"},
    ):
        assert refused(merchant.get("/v1/payments", **query)) == (422, "invalid_request")


def test_what_is_asked_of_me(merchant, customer, other):
    mine = told(merchant.post("/v1/payments", NEW | {"customer_phone": PHONE}), 201)["id"]
    told(merchant.post("/v1/payments", NEW), 201)  # asks nobody
    asked = told(customer.get("/v1/me/payments", status="pending"))["data"]
    assert [payment["id"] for payment in asked] == [mine]
    assert not MERCHANTS_OWN & set(asked[0])
    assert told(other.get("/v1/me/payments"))["data"] == []


def test_refunds_are_listed_by_payment(merchant, customer):
    paid = [told(merchant.post("/v1/payments", NEW), 201)["id"] for _ in range(2)]
    for payment_id in paid:
        told(customer.post(f"/v1/payments/{payment_id}/confirm"))
    made = [
        told(merchant.post("/v1/refunds", {"payment": payment_id, "amount": 1}), 201)["id"]
        for payment_id in (paid[0], paid[1], paid[0])
    ]
    every = told(merchant.get("/v1/refunds", limit=2))
    assert [refund["id"] for refund in every["data"]] == [made[2], made[1]]
    rest = told(merchant.get("/v1/refunds", limit=2, cursor=every["next_cursor"]))
    assert [refund["id"] for refund in rest["data"]] == [made[0]]
    of_one = told(merchant.get("/v1/refunds", payment=paid[0]))["data"]
    assert [refund["id"] for refund in of_one] == [made[2], made[0]]


def test_a_payments_etag_changes_with_it(merchant, customer):
    asked = told(merchant.post("/v1/payments", NEW), 201)["id"]
    url = f"/v1/payments/{asked}"
    tag = merchant.get(url).headers["ETag"]
    same = merchant.client.get(url, headers=merchant.headers | {"If-None-Match": tag})
    assert same.status_code == 304
    told(customer.post(f"{url}/confirm"))
    changed = merchant.client.get(url, headers=merchant.headers | {"If-None-Match": tag})
    assert changed.status_code == 200


def test_the_balance_is_true_in_each_currency_the_default_first(merchant, customer):
    world.customer(PHONE, 500, "AUD")
    for currency in ("AUD", "EUR"):
        asked = told(merchant.post("/v1/payments", {"amount": 300, "currency": currency}), 201)
        told(customer.post(f"/v1/payments/{asked['id']}/confirm"))
    row = accounts.find(merchant.id, "merchant", "EUR")
    assert row is not None
    world.did(lambda: accounts.mark_hot(row.id, True))  # its credits lie beside it from now on
    asked = told(merchant.post("/v1/payments", NEW), 201)
    told(customer.post(f"/v1/payments/{asked['id']}/confirm"))
    shown = told(merchant.get("/v1/balance"))
    assert shown == {
        "object": "balance",
        "merchant": merchant.id,
        "balances": [
            {"currency": "EUR", "balance": 23_00, "held": 0, "available": 23_00},
            {"currency": "AUD", "balance": 300, "held": 0, "available": 300},
        ],
    }
