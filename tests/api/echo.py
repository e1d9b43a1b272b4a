"""Routes of the tests' own, declared the way all routes are, for what all routes have in common.

`POST /v1/things` writes one line into the audit trail for each effect, so effects can be counted.
"""

import threading
from collections.abc import Callable

from flask import Blueprint, Flask

from payments import audit, db, ids
from payments.api import guards
from payments.api.bodies import (
    Amount,
    Body,
    Currency,
    Empty,
    Metadata,
    Note,
    Phone,
    Reference,
    ShortText,
    UtcTime,
)
from payments.api.paging import PageQuery, listing
from payments.api.routing import Answer, route
from payments.db import Sql
from payments.errors import InsufficientFunds, InvalidState, KeyRevoked
from payments.origin import Operator

EFFECTS = Sql("SELECT count(*) AS n FROM audit_log WHERE action = :action")
_PAGE = (
    "SELECT id, action, created_at FROM audit_log {} ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_FIRST = Sql(_PAGE.format(""))
_AFTER = Sql(_PAGE.format("WHERE (created_at, id) < (:before_at, :before_id)"))
TRAIL = Sql(
    "SELECT actor, subject_id, outcome, request_id FROM audit_log WHERE action = :action"
    " ORDER BY id"
)


class ThingIn(Body):
    """Everything a body may hold."""

    amount: Amount
    currency: Currency = "EUR"
    at: UtcTime | None = None
    name: ShortText | None = None
    note: Note | None = None
    reference: Reference | None = None
    phone: Phone | None = None
    metadata: Metadata | None = None


class Thing(Body):
    """What was made."""

    id: str
    amount: int
    secret: str | None = None


class Things(Body):
    """A page."""

    data: list[dict[str, str]]
    next_cursor: str | None


class Filtered(PageQuery):
    """A page, filtered."""

    reference: str | None = None


def blueprint(during: Callable[[], object] = lambda: None) -> Blueprint:
    """Routes under /v1/things and /admin/things. during: called inside each unit of work."""
    bp = Blueprint("echo", __name__)

    @route(
        bp, "/admin/things", method="POST", caller=guards.operator, body=ThingIn, answer=Thing,
        status=201, once="required", errors=(InvalidState,), summary="Make a thing",
    )  # fmt: skip
    def make(caller: Operator, body: ThingIn) -> dict:
        return _made(caller.scope, body, during)

    @route(
        bp, "/v1/things", method="POST", caller=guards.anyone, body=ThingIn, answer=Thing,
        status=201,also=(202,), once="optional", secret_fields=("secret",), errors=(InvalidState,),
        summary="Make a thing with a secret",
    )  # fmt: skip
    def make_secret(body: ThingIn) -> Answer:
        made = _made("anonymous", body, during) | {"secret": "whsec_once"}
        return Answer(made, status=202, headers={"X-Thing": "made"})

    @route(
        bp, "/admin/things/<payment_id>/end", method="POST", caller=guards.operator, body=Empty,
        answer=Thing, once="optional", errors=(InvalidState, KeyRevoked), audit="thing.end",
        before=_counted, summary="End a thing, which is refused",
    )  # fmt: skip
    def end(payment_id: str, body: Empty) -> dict:
        audit.record("test", "thing.ended", payment_id)
        refusal = KeyRevoked("Its family is gone.")
        refusal.consequence = lambda: audit.record("test", "thing.consequence", payment_id)
        raise refusal

    @route(
        bp, "/admin/things", caller=guards.operator, query=Filtered, answer=Things, summary="List"
    )
    def things(query: Filtered) -> dict:
        return listing(query, _fetch, lambda row: {"id": row.id, "action": row.action})

    @route(bp, "/admin/others/<code>", caller=guards.operator, query=Filtered, answer=Things,
           summary="Another list")  # fmt: skip
    def others(code: str, query: Filtered) -> dict:
        return listing(query, _fetch, lambda row: {"id": row.id, "action": row.action})

    @route(bp, "/v1/broken", caller=guards.anyone, answer=Thing, summary="Fails")
    def broken() -> dict:
        raise ZeroDivisionError("the secret is 4711")

    return bp


def _counted(
    caller: Operator | None = None, payment_id: str = "", body: Empty | None = None
) -> None:
    db.in_unit(lambda: audit.record("test", "thing.try", payment_id))


def _made(actor: str, body: ThingIn, during: Callable[[], object]) -> dict:
    audit.record(actor, "thing.made", None)
    during()
    if body.name == "refuse":
        raise InvalidState("This thing can't be made.")
    return {"id": ids.new("trf"), "amount": body.amount}


def _fetch(limit: int, before: tuple | None) -> list:
    if before is None:
        return _FIRST.all(limit=limit)
    return _AFTER.all(limit=limit, before_at=before[0], before_id=before[1])


def effects(app: Flask, action: str = "thing.made") -> int:
    """How many effects of that name are committed."""
    with app.app_context():
        return int(EFFECTS.scalar(action=action))


class Gate:
    """Holds a unit of work open until the test lets it go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.go_on.wait(10)


def undeclared() -> Blueprint:
    """Routes that do not keep what they declare."""
    bp = Blueprint("undeclared", __name__)

    @route(bp, "/v1/undeclared", caller=guards.anyone, answer=Thing, summary="Refuses unsaid")
    def undeclared() -> dict:
        raise InsufficientFunds(currency="EUR", needed=5)

    @route(bp, "/v1/misfit", caller=guards.anyone, answer=Thing, summary="Answers unsaid")
    def misfit() -> dict:
        return {"unexpected": 1}

    @route(bp, "/v1/modelless", caller=guards.anyone, summary="Answers without a model")
    def modelless() -> dict:
        return {}

    return bp


def namesake() -> Blueprint:
    """A route whose body is called as another's."""
    bp = Blueprint("namesake", __name__)
    other = type("ThingIn", (Body,), {"__doc__": "Another.", "__module__": "elsewhere"})

    @route(
        bp, "/v1/namesake", method="POST", caller=guards.anyone, body=other, answer=Thing,
        summary="Takes a namesake",
    )  # fmt: skip
    def take(body: Body) -> dict:
        return {"id": "x", "amount": 1}

    return bp
