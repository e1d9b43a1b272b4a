"""A right call of every route, and a small world in which it is right.

`CALLS` names what a route needs beyond `{}`; a route that needs something and is not in it fails
the tests of bad input, so that none can be forgotten.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from flask import Flask
from werkzeug.test import TestResponse

from payments import config, origin
from payments.api import service_names
from payments.api.routing import Route
from payments.customers import sessions, tokens
from payments.db import Sql
from payments.merchants import api_keys, applications
from payments.settlement import adjustments, payouts
from payments.transfers import deposits, transfers
from payments.webhooks import checks, deliveries, endpoints
from tests.api.json_of import json_of
from tests.checkout import world as rooms
from tests.checkout.world import did

TAXI, FOOD = "taxi-secret-" + "0123456789abcdef" * 2, "food-secret-" + "0123456789abcdef" * 2
ANN_ADMIN = "ann-admin-" + "0123456789abcdef" * 2
SETTINGS = {
    "INTERNAL_API_SECRET": f"taxi:{TAXI},food:{FOOD}",
    "ADMIN_TOKEN": f"ann:{ANN_ADMIN}",
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "OTP_PER_PHONE_HOUR": "1000000",
}
ANN, BOB, CAROL = "+4915112345678", "+4915112345679", "+4915112345670"

HOOK = "http://127.0.0.1:9/hook"  # nothing listens there, and nothing sends in these tests

Headers = dict[str, str]


def bearer(credential: str) -> Headers:
    """What a customer or a merchant sends."""
    return {"Authorization": f"Bearer {credential}"}


@dataclass
class World:
    """Ann, who has money and owns a shop; Bob, who has a rival's; Carol's shops wait or are closed.

    ids: an object of Ann's, or her shop's, for each parameter of a path; `confirm:payment_id` is
    the one for paths that end so, `internal:transfer_id` for those that begin so.
    """

    app: Flask
    ids: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Headers] = field(default_factory=dict)

    def sends(
        self,
        facts: Route,
        headers: Headers,
        *,
        body: Any = None,
        raw: bytes | None = None,
        query: str = "",
        path: str | None = None,
        media: str | None = "application/json",
    ) -> TestResponse:
        """The call, with a key of its own."""
        more: dict[str, Any] = {}
        if facts.body is not None:
            more = {"content_type": media, **({"json": body} if raw is None else {"data": raw})}
            if raw is None:
                more.pop("content_type")
        key = {} if facts.method == "GET" else {"Idempotency-Key": uuid.uuid4().hex}
        url = path or self.path(facts)
        return self.app.test_client().open(
            f"{url}?{query}" if query else url,
            method=facts.method,
            headers=headers | key,
            **more,
        )

    def path(self, facts: Route, **other: str) -> str:
        """The rule with ids of this world in it."""
        path = facts.rule
        for name in facts.parameters:
            _, room, *_, last = facts.rule.split("/")
            special = (self.ids.get(f"{word}:{name}") for word in (last, room))
            found = other.get(name) or next(filter(None, special), None) or self.ids[name]
            path = path.replace(f"<{name}>", found)
        return path

    def body(self, facts: Route) -> Any:
        """A right body."""
        call = CALLS.get((facts.method, facts.rule))
        return call.body(self) if call else {}

    def query(self, facts: Route) -> str:
        """A right query."""
        call = CALLS.get((facts.method, facts.rule))
        return call.query(self) if call else ""

    def right(self, facts: Route) -> Headers:
        """The credential that the call is for."""
        return self.headers[RIGHT[facts.guard.name]] if facts.guard.kinds else {}

    def others(self, facts: Route) -> list[Headers]:
        """Credentials of the right kind, of somebody else."""
        return [self.headers[name] for name in OTHERS[facts.guard.name]]


RIGHT = {
    "customer": "ann",
    "merchant": "shop",
    "customer or merchant": "ann",
    "sister service": "taxi",
    "operator": "operator",
}
OTHERS = {
    "customer": ["bob"],
    "merchant": ["rival"],
    "customer or merchant": ["bob", "rival"],
    "sister service": ["food"],
    "operator": [],
}
KINDS = {
    "customer": {"ann"},
    "merchant": {"shop"},
    "customer or merchant": {"ann", "shop"},
    "sister service": {"taxi"},
    "operator": {"operator"},
}


@dataclass(frozen=True)
class Call:
    """What a right call holds. names: it names an object of its caller's outside the path."""

    body: Callable[[World], Any] = lambda world: {}
    query: Callable[[World], str] = lambda world: ""
    names: bool = False


MONEY = {"amount": 5_00, "currency": "EUR"}
CALLS: dict[tuple[str, str], Call] = {
    ("POST", "/v1/auth/otp"): Call(lambda w: {"phone": CAROL}),
    ("POST", "/v1/auth/token"): Call(lambda w: w.facts["sign in"]),
    ("POST", "/v1/auth/refresh"): Call(lambda w: {"refresh_token": w.facts["refresh"]}),
    ("PATCH", "/v1/me"): Call(lambda w: {"name": "Ann"}),
    ("POST", "/v1/wallets"): Call(lambda w: {"currency": "USD"}),
    ("POST", "/v1/transfers"): Call(lambda w: {"to_phone": BOB, **MONEY}),
    ("POST", "/v1/pay"): Call(lambda w: {"code": w.ids["code"]}, names=True),
    ("POST", "/v1/merchants"): Call(lambda w: {"name": "Another shop"}),
    ("GET", "/v1/merchant"): Call(query=lambda w: f"merchant={w.ids['merchant_id']}", names=True),
    ("PATCH", "/v1/merchant"): Call(
        lambda w: {"name": "Corner"}, lambda w: f"merchant={w.ids['merchant_id']}", names=True
    ),
    ("POST", "/v1/api_keys"): Call(
        lambda w: {"name": "till", "scopes": ["*"], "merchant": w.ids["merchant_id"]}, names=True
    ),
    ("GET", "/v1/api_keys"): Call(query=lambda w: f"merchant={w.ids['merchant_id']}", names=True),
    ("POST", "/v1/payments"): Call(lambda w: {**MONEY, "customer_phone": ANN}),
    ("POST", "/v1/refunds"): Call(lambda w: {"payment": w.facts["paid"]}, names=True),
    ("GET", "/v1/settlements"): Call(
        query=lambda w: "from=2025-09-01T00:00:00Z&to=2025-09-30T23:59:59Z"
    ),
    ("POST", "/v1/webhook_endpoints"): Call(lambda w: {"url": HOOK, "events": ["*"]}),
    ("PATCH", "/v1/webhook_endpoints/<endpoint_id>"): Call(
        lambda w: {"events": ["payment.succeeded"], "status": "enabled"}
    ),
    ("POST", "/internal/deposits"): Call(
        lambda w: {"phone": ANN, **MONEY, "external_reference": uuid.uuid4().hex}
    ),
    ("POST", "/internal/transfers"): Call(
        lambda w: {"from_phone": ANN, "to_phone": BOB, **MONEY, "reference": uuid.uuid4().hex}
    ),
    ("POST", "/admin/config/rate_limit"): Call(lambda w: {"per_minute": 1_000_000}),
    ("POST", "/admin/config/otp"): Call(lambda w: {"per_phone_hour": 1_000_000}),
    ("POST", "/admin/config/fees"): Call(lambda w: {"bps": 0}),
    ("POST", "/admin/config/read_only"): Call(lambda w: {"on": False, "reason": "tests"}),
    ("POST", "/admin/wallets/<wallet_id>/freeze"): Call(lambda w: {"reason": "tests"}),
    ("POST", "/admin/wallets/<wallet_id>/unfreeze"): Call(lambda w: {"reason": "tests"}),
    ("POST", "/admin/webhook_endpoints/<endpoint_id>/toggle"): Call(
        lambda w: {"status": "disabled", "reason": "tests"}
    ),
    ("POST", "/admin/refunds"): Call(lambda w: {"payment": w.facts["paid"], "reason": "tests"}),
    ("POST", "/admin/merchants/<merchant_id>/negative_limit"): Call(
        lambda w: {"negative_limit": 5_00, "reason": "tests"}
    ),
    ("POST", "/admin/payouts"): Call(lambda w: {"merchant": w.ids["merchant_id"], **MONEY}),
    ("POST", "/admin/payouts/<payout_id>/reject"): Call(lambda w: {"reason": "tests"}),
    ("POST", "/admin/adjustments"): Call(
        lambda w: {"debit": "fees", "credit": w.ids["wallet_id"], "reason": "tests", **MONEY}
    ),
    ("POST", "/admin/adjustments/<adjustment_id>/reject"): Call(lambda w: {"reason": "tests"}),
    ("GET", "/internal/wallets"): Call(query=lambda w: f"phone={ANN.replace('+', '%2B')}"),
}

_FAIL = Sql("UPDATE deliveries SET status = 'failed', ended_at = :now WHERE id = :id")
_EXPIRE = Sql("UPDATE api_keys SET expires_at = :now WHERE id = :id")


def make(app: Flask) -> World:
    """The world, on an app with `SETTINGS`."""
    world = World(app)
    with app.app_context():
        for entry in config.current().internal_api_secret:
            service_names.settle(entry)  # kept at a service's first call: later ones change nothing
        ann, bob, carol = (rooms.customer(phone, has=1000_00) for phone in (ANN, BOB, CAROL))
        shop, rival = rooms.merchant(ANN, "Corner shop"), rooms.merchant(BOB, "Rival")
        closed = rooms.merchant(CAROL, "Closed shop")
        did(lambda: applications.suspend(closed))
        _people(world, ann, bob)
        _shops(world, ann, bob, shop, rival)
        _webhooks(world, shop)
        _objects(world, ann, shop, closed)
        world.ids["approve:merchant_id"] = _waiting(carol)
    world.facts["sign in"] = _code(world)
    world.facts["ids_of_ann"] = [ann, shop, *world.ids.values()]
    return world


def _waiting(owner: str) -> str:
    """A merchant whose application waits."""
    applied = did(lambda: applications.apply(owner, "New shop"))
    did(lambda: Sql("UPDATE merchants SET status = 'pending' WHERE id = :id").run(id=applied.id))
    return str(applied.id)


def _code(world: World) -> dict[str, str]:
    """Carol asks for a code and reads it."""
    asked = world.app.test_client().post("/v1/auth/otp", json={"phone": CAROL})
    log = world.app.extensions["payments_settings"].instance_dir / "sms.log"
    return {
        "challenge_id": json_of(asked)["challenge_id"],
        "code": log.read_text().splitlines()[-1].split()[-1],
    }


def _people(world: World, ann: str, bob: str) -> None:
    signed_in = did(lambda: sessions.start(ann, "tests"))
    other = did(lambda: sessions.start(bob, "tests"))
    ended = did(lambda: sessions.start(ann, "tests"))
    second = did(lambda: sessions.start(ann, "tests"))
    ended_id = session_of(ended.access_token)
    did(lambda: sessions.end(ann, ended_id))
    claims = jwt.decode(signed_in.access_token, options={"verify_signature": False})
    secret = world.app.extensions["payments_settings"].jwt_secret[0]
    kid = {"kid": tokens.key_id(secret)}
    past = {**claims, "iat": claims["iat"] - 7200, "exp": claims["exp"] - 7200}
    head, payload, signature = signed_in.access_token.split(".")
    world.facts["refresh"] = signed_in.refresh_token
    world.ids["session_id"] = session_of(second.access_token)
    world.headers |= {
        "ann": bearer(signed_in.access_token),
        "bob": bearer(other.access_token),
        "ended session": bearer(ended.access_token),
        "expired token": bearer(jwt.encode(past, secret, "HS256", headers=kid)),
        "foreign token": bearer(jwt.encode(claims, "f" * 48, "HS256", headers=kid)),
        "unsigned token": bearer(jwt.encode(claims, "", "none", headers=kid)),
        "other algorithm": bearer(jwt.encode(claims, secret * 2, "HS512", headers=kid)),
        "other audience": bearer(
            jwt.encode({**claims, "aud": "elsewhere"}, secret, "HS256", headers=kid)
        ),
        "forged token": bearer(f"{head}.{payload[:-2]}AA.{signature}"),
        "no token": bearer("a.b.c"),
        "other scheme": {"Authorization": "Basic YW5uOmFubg=="},
        "empty bearer": {"Authorization": "Bearer "},
        "odd bearer": {"Authorization": "Bearer \u00e9\u00ff"},
        "taxi": {"X-Internal-Secret": TAXI},
        "food": {"X-Internal-Secret": FOOD},
        "wrong secret": {"X-Internal-Secret": TAXI[:-1]},
        "operator": {"X-Admin-Token": ANN_ADMIN},
        "wrong admin": {"X-Admin-Token": ANN_ADMIN + "x"},
    }


def session_of(access_token: str) -> str:
    """The session behind an access token."""
    return str(jwt.decode(access_token, options={"verify_signature": False})["sid"])


def _shops(world: World, ann: str, bob: str, shop: str, rival: str) -> None:
    def key(merchant: str, *scopes: str) -> tuple[str, Headers]:
        row, secret = did(lambda: api_keys.create(merchant, "tests", list(scopes), None))
        return row.id, bearer(secret)

    world.ids["key_id"], world.headers["shop"] = key(shop, "*")
    _, world.headers["rival"] = key(rival, "*")
    _, world.headers["links only"] = key(shop, "links:write")
    revoked, world.headers["revoked key"] = key(shop, "*")
    expired, world.headers["expired key"] = key(shop, "*")
    spare, _ = key(shop, "*")
    world.ids["key_id"] = spare  # to be revoked by a call
    did(lambda: api_keys.revoke(shop, revoked))
    did(lambda: _EXPIRE.run(id=expired))
    world.headers["forged key"] = bearer("sk_" + "A" * 43)


def _webhooks(world: World, shop: str) -> None:
    """An endpoint of the shop, and what it is owed for a first payment."""
    endpoint, _ = did(lambda: endpoints.create(shop, HOOK, ["*"], None))
    rooms.asks(shop, 1_00)
    owed = deliveries.page(shop, {}, 1, None)[0]
    did(lambda: _FAIL.run(id=owed.id))
    world.ids |= {
        "endpoint_id": endpoint.id,
        "event_id": owed.event_id,
        "delivery_id": owed.id,
    }


def _objects(world: World, ann: str, shop: str, closed: str) -> None:
    def asks(**more: Any) -> Any:
        return rooms.asks(shop, 20_00, customer_phone=ANN, **more)

    paid, held = asks(), asks(capture="manual")
    rooms.confirms(ann, paid.id)
    rooms.confirms(ann, held.id)
    refunded = asks()
    rooms.confirms(ann, refunded.id)
    refund = rooms.refunds_of(shop, refunded.id, 5_00)
    sent = did(lambda: transfers.create(ann, CAROL, 5_00, "EUR"))
    moved, _ = did(lambda: transfers.by_service("taxi", ANN, CAROL, 5_00, "EUR", "t-1"))
    arrived, _ = did(lambda: deposits.create("taxi", ANN, 5_00, "EUR", "d-1"))
    world.facts |= {"paid": paid.id}
    world.ids |= {
        "payment_id": paid.id,
        "confirm:payment_id": asks().id,
        "decline:payment_id": asks().id,
        "cancel:payment_id": asks().id,
        "capture:payment_id": held.id,
        "code": asks().code,
        "refund_id": refund.id,
        "transfer_id": sent.id,
        "internal:transfer_id": moved.id,
        "deposit_id": arrived.id,
        "merchant_id": shop,
        "unsuspend:merchant_id": closed,
        "wallet_id": rooms.accounts.of_owner(ann, "customer")[0].id,
    }
    with origin.acting("operator:bob"):
        payout = did(lambda: payouts.propose(shop, 5_00, "EUR", None))
        adjustment = did(lambda: adjustments.propose("fees", shop, 5_00, "EUR", "tests"))
    check = did(lambda: checks.ask(world.ids["endpoint_id"]))
    world.ids |= {
        "payout_id": payout.id,
        "adjustment_id": adjustment.id,
        "check_id": check.id,
    }
