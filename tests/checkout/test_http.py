"""The calls of payments over HTTP: who may, what comes back, and that a repeat pays once."""

from datetime import timedelta

import pytest

from payments import clock
from tests.checkout import callers, world
from tests.checkout.callers import refused, told

PHONE = "+4915112345678"
NEW = {"amount": 20_00, "currency": "EUR"}
MERCHANTS_OWN = {"fee", "metadata"}


def test_asked_paid_captured_in_part_and_refunded(merchant, customer):
    asked = told(
        merchant.post(
            "/v1/payments",
            NEW
            | {
                "customer_phone": "0151 12345678",  # as dialled in the default region
                "capture": "manual",
                "reference": "order 7",
                "description": "Two coffees",
                "metadata": {"table": 7},
                "expires_in": 60,
            },
        ),
        201,
    )
    assert asked["customer_phone"] == PHONE
    assert set(asked) == {
        *("id", "object", "status", "version", "amount", "currency", "amount_captured"),
        *("amount_refunded", "fee", "capture", "merchant", "customer", "customer_phone", "code"),
        *("reference", "description", "metadata", "created_at", "expires_at", "capture_before"),
    }
    url = f"/v1/payments/{asked['id']}"
    held = told(customer.post(f"{url}/confirm"))
    assert set(asked) - set(held) == MERCHANTS_OWN
    assert (held["status"], held["version"], held["customer"]) == ("authorized", 2, customer.id)
    taken = told(merchant.post(f"{url}/capture", {"amount": 15_00}))
    assert (taken["status"], taken["amount_captured"]) == ("succeeded", 15_00)
    back = told(
        merchant.post(
            "/v1/refunds",
            {"payment": asked["id"], "amount": 5_00, "reason": "Cold", "metadata": {"cup": 2}},
        ),
        201,
    )
    assert (back["status"], back["amount"], back["payment"]) == ("succeeded", 5_00, asked["id"])
    assert told(merchant.get(f"/v1/refunds/{back['id']}")) == back
    now = told(merchant.get(url))
    assert (now["amount_refunded"], now["version"]) == (5_00, 4)
    assert told(customer.get(url)) == {k: v for k, v in now.items() if k not in MERCHANTS_OWN}
    assert told(merchant.get("/v1/balance"))["balances"] == [
        {"currency": "EUR", "balance": 10_00, "held": 0, "available": 10_00}
    ]
    world.sound()


def test_declined_and_canceled(merchant, customer):
    asked = told(merchant.post("/v1/payments", NEW), 201)
    url = f"/v1/payments/{asked['id']}"
    declined = told(customer.post(f"{url}/decline"))
    assert declined["status"] == "declined"
    assert declined["customer"] is None  # it says who paid
    assert refused(customer.post(f"{url}/confirm")) == (409, "invalid_state")
    second = told(merchant.post("/v1/payments", NEW), 201)
    canceled = told(merchant.post(f"/v1/payments/{second['id']}/cancel"))
    assert canceled["status"] == "canceled"


def test_a_repeat_pays_once_and_answers_the_same(merchant, customer):
    asked = told(merchant.post("/v1/payments", NEW, key="order-7"), 201)
    again = merchant.post("/v1/payments", NEW, key="order-7")
    assert (told(again, 201), again.headers["Idempotent-Replayed"]) == (asked, "true")
    url = f"/v1/payments/{asked['id']}/confirm"
    first = told(customer.post(url, key="k-17"))
    assert told(customer.post(url, key="k-17")) == first
    assert world.purse(customer.id) == (80_00, 0)
    assert world.events(asked["id"]) == ["payment.created", "payment.succeeded"]
    refund = {"payment": asked["id"], "amount": 5_00}
    assert told(merchant.post("/v1/refunds", refund, key="r"), 201) == told(
        merchant.post("/v1/refunds", refund, key="r"), 201
    )
    assert world.purse(customer.id) == (85_00, 0)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", "/v1/payments"),
        ("POST", "/v1/payments/{id}/confirm"),
        ("POST", "/v1/payments/{id}/decline"),
        ("POST", "/v1/payments/{id}/capture"),
        ("POST", "/v1/payments/{id}/cancel"),
        ("POST", "/v1/refunds"),
        ("POST", "/v1/pay"),
    ],
)
def test_what_moves_money_needs_a_key_of_the_callers(merchant, customer, method, url):
    asked = told(merchant.post("/v1/payments", NEW), 201)
    bodies = {
        "/v1/payments": NEW,
        "/v1/refunds": {"payment": asked["id"]},
        "/v1/pay": {"code": asked["code"]},
    }
    who = customer if url.endswith(("confirm", "decline", "pay")) else merchant
    answer = who.client.open(
        url.format(id=asked["id"]), method=method, headers=who.headers, json=bodies.get(url, {})
    )
    assert refused(answer) == (400, "idempotency_key_required")
    assert told(merchant.get(f"/v1/payments/{asked['id']}")) == asked


def test_what_comes_later_is_an_unknown_field_now(merchant):
    for name in ("customer_code", "return_url", "url", "qr", "fee", "merchant"):
        answer = merchant.post("/v1/payments", NEW | {name: "x"})
        assert refused(answer) == (422, "invalid_request")
        assert [fault["pointer"] for fault in answer.json["errors"]] == [f"/{name}"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"amount": 0}, "/amount"),
        ({"amount": -1}, "/amount"),
        ({"amount": 10**15 + 1}, "/amount"),
        ({"amount": 1.0}, "/amount"),
        ({"amount": "1"}, "/amount"),
        ({"amount": True}, "/amount"),
        ({"currency": "eur"}, "/currency"),
        ({"currency": "XXX"}, "/currency"),
        ({"customer_phone": "call me"}, "/customer_phone"),
        ({"capture": "later"}, "/capture"),
        ({"expires_in": 59}, "/expires_in"),
        ({"expires_in": 2_592_001}, "/expires_in"),
        ({"reference": ""}, "/reference"),
        ({"metadata": {"a": []}}, "/metadata"),
    ],
)
def test_a_bad_field_is_named(merchant, body, pointer):
    answer = merchant.post("/v1/payments", NEW | body)
    assert refused(answer) == (422, "invalid_request")
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]
    assert told(merchant.get("/v1/payments"))["data"] == []


def test_null_is_as_good_as_left_out(merchant):
    optional = ("customer_phone", "capture", "reference", "description", "metadata", "expires_in")
    plain = told(merchant.post("/v1/payments", NEW), 201)
    made = told(merchant.post("/v1/payments", NEW | dict.fromkeys(optional)), 201)
    own = {"id", "code", "created_at", "expires_at"}
    assert {k: v for k, v in made.items() if k not in own} == {
        k: v for k, v in plain.items() if k not in own
    }
    waits = [
        clock.parse_rfc3339(each["expires_at"]) - clock.parse_rfc3339(each["created_at"])
        for each in (plain, made)
    ]
    assert waits == [timedelta(seconds=900)] * 2


def test_the_longest_and_shortest_time_to_pay(merchant):
    for seconds in (60, 2_592_000):
        told(merchant.post("/v1/payments", NEW | {"expires_in": seconds}), 201)


def test_a_scope_opens_its_calls_and_no_other(client, shop, merchant, customer):
    paid = told(merchant.post("/v1/payments", NEW), 201)["id"]
    told(customer.post(f"/v1/payments/{paid}/confirm"))
    refund = told(merchant.post("/v1/refunds", {"payment": paid, "amount": 1}), 201)["id"]
    calls = {
        "payments:write": [
            lambda who: who.post("/v1/payments", NEW),
            lambda who: who.post(f"/v1/payments/{paid}/capture"),
            lambda who: who.post(f"/v1/payments/{paid}/cancel"),
        ],
        "payments:read": [
            lambda who: who.get("/v1/payments"),
            lambda who: who.get(f"/v1/payments/{paid}"),
            lambda who: who.get("/v1/refunds"),
            lambda who: who.get(f"/v1/refunds/{refund}"),
        ],
        "refunds:write": [lambda who: who.post("/v1/refunds", {"payment": paid, "amount": 1})],
        "settlements:read": [lambda who: who.get("/v1/balance")],
    }
    for scope in calls:
        who = callers.with_key(client, shop, scope)
        for name, made in calls.items():
            for call in made:
                if name == scope:
                    assert call(who).status_code in (200, 201, 409)
                else:
                    assert refused(call(who)) == (403, "scope_missing")


def test_each_call_is_for_its_kind_of_caller(client, merchant, customer):
    asked = told(merchant.post("/v1/payments", NEW), 201)
    url = f"/v1/payments/{asked['id']}"
    for answer in (
        customer.post("/v1/payments", NEW),
        customer.get("/v1/payments"),
        customer.post(f"{url}/capture"),
        customer.post(f"{url}/cancel"),
        customer.post("/v1/refunds", {"payment": asked["id"]}),
        customer.get("/v1/refunds"),
        customer.get("/v1/balance"),
        merchant.post(f"{url}/confirm"),
        merchant.post(f"{url}/decline"),
        merchant.get(f"/v1/codes/{asked['code']}"),
        merchant.post("/v1/pay", {"code": asked["code"]}),
        merchant.get("/v1/me/payments"),
    ):
        assert refused(answer) == (403, "forbidden")
    assert refused(client.get(url)) == (401, "unauthenticated")
    assert told(merchant.get(url)) == asked


def test_what_is_not_yours_is_not_found(client, merchant, customer, other):
    asked = told(merchant.post("/v1/payments", NEW | {"customer_phone": PHONE}), 201)
    url, code = f"/v1/payments/{asked['id']}", asked["code"]
    told(customer.post(f"{url}/confirm"))
    refund = told(merchant.post("/v1/refunds", {"payment": asked["id"], "amount": 1}), 201)["id"]
    rival = callers.with_key(client, world.merchant("+4915133333333", "Other shop"))
    for answer in (
        other.get(url),
        other.post(f"{url}/confirm"),
        other.post(f"{url}/decline"),
        other.get(f"/v1/codes/{code}"),
        other.post("/v1/pay", {"code": code}),
        rival.get(url),
        rival.post(f"{url}/capture"),
        rival.post(f"{url}/cancel"),
        rival.post("/v1/refunds", {"payment": asked["id"]}),
        rival.get(f"/v1/refunds/{refund}"),
        merchant.get("/v1/payments/pay_none"),
        merchant.get("/v1/refunds/ref_none"),
        customer.get("/v1/codes/0O0O"),
        customer.post("/v1/pay", {"code": "0O0O"}),
    ):
        assert refused(answer) == (404, "not_found")
    assert told(rival.get("/v1/payments"))["data"] == []
    assert told(rival.get("/v1/refunds"))["data"] == []
    assert told(other.get("/v1/me/payments"))["data"] == []


def test_a_code_shows_what_it_asks_and_is_paid(merchant, customer):
    asked = told(merchant.post("/v1/payments", NEW), 201)
    typed = asked["code"].replace("-", " ").lower()
    seen = told(customer.get(f"/v1/codes/{typed}"))
    assert (seen["id"], seen["amount"], seen["status"]) == (asked["id"], 20_00, "pending")
    assert not MERCHANTS_OWN & set(seen)
    changed = customer.post("/v1/pay", {"code": typed, "amount": 19_99})
    assert refused(changed) == (409, "amount_changed")
    paid = told(customer.post("/v1/pay", {"code": typed, "amount": 20_00}))
    assert (paid["id"], paid["status"]) == (asked["id"], "succeeded")
    assert refused(customer.post("/v1/pay", {"code": typed})) == (409, "invalid_state")


def test_refusals_of_money_say_which(client, merchant, customer, other):
    dear = told(merchant.post("/v1/payments", {"amount": 100_01, "currency": "EUR"}), 201)
    foreign = told(merchant.post("/v1/payments", {"amount": 1, "currency": "USD"}), 201)
    small = told(merchant.post("/v1/payments", NEW), 201)["id"]
    for asked, has in ((dear, "10000 EUR"), (foreign, "0 USD")):
        answer = customer.post(f"/v1/payments/{asked['id']}/confirm")
        assert refused(answer) == (402, "insufficient_funds")
        assert has in answer.json["detail"]
    world.freeze(customer.id)
    assert refused(customer.post(f"/v1/payments/{small}/confirm")) == (403, "wallet_frozen")
    world.freeze(customer.id, False)
    told(customer.post(f"/v1/payments/{small}/confirm"))
    more = {"payment": small, "amount": 20_01}
    assert refused(merchant.post("/v1/refunds", more)) == (422, "amount_exceeds_refundable")
    held = told(merchant.post("/v1/payments", NEW | {"capture": "manual"}), 201)["id"]
    told(customer.post(f"/v1/payments/{held}/confirm"))
    more = {"amount": 20_01}
    answer = merchant.post(f"/v1/payments/{held}/capture", more)
    assert refused(answer) == (422, "amount_exceeds_authorized")
    waits = told(merchant.post("/v1/payments", NEW), 201)["id"]
    world.suspend(merchant.id)
    assert refused(other.post(f"/v1/payments/{waits}/confirm")) == (403, "merchant_suspended")
    assert refused(merchant.post("/v1/payments", NEW)) == (403, "merchant_suspended")
    world.sound()


def test_a_refund_beyond_the_balance_says_so_without_the_balance(merchant, customer):
    paid = told(merchant.post("/v1/payments", NEW), 201)["id"]
    told(customer.post(f"/v1/payments/{paid}/confirm"))
    world.leaves(merchant.id, 19_00)
    answer = merchant.post("/v1/refunds", {"payment": paid})
    assert refused(answer) == (402, "merchant_balance_insufficient")
    assert world.purse(customer.id) == (80_00, 0)


def test_a_merchant_that_waits_for_approval_asks_nobody(make_app):
    app = make_app(MERCHANT_AUTO_APPROVE="false")
    with app.app_context():
        waiting = callers.with_key(app.test_client(), world.applied("+4915133333333"))
        assert refused(waiting.post("/v1/payments", NEW)) == (403, "merchant_not_approved")
