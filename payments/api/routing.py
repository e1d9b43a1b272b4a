"""One declaration for each route: who may call it, what it takes, answers and refuses.

    @route(bp, "/v1/payments/<payment_id>/confirm", method="POST", caller=guards.customer,
           body=Empty, answer=PaymentObject, status=200, once="required",
           errors=(NotFound, InvalidState), summary="Pay a payment")
    def confirm(caller: Customer, payment_id: str, body: Empty) -> dict: ...

The same facts check the input, make the OpenAPI document and generate the tests of bad input. In
tests each answer is held against its model and each refusal against `errors`, so that the document
can't lie.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flask
from flask import Blueprint, Flask, Response
from pydantic import BaseModel

from payments import audit as audit_trail
from payments import db, errors, ids, logs, origin, settings
from payments.api import bodies, callers, guards, idempotency, requests, strangers
from payments.api.guards import Guard, needs_session
from payments.api.idempotency import Premise
from payments.api.paging import PageQuery
from payments.api.requests import ApiRequest
from payments.errors import NotFound, PaymentsError
from payments.origin import Customer

Once = Literal["required", "optional"]

PREFIXES: dict[str, str] = {
    "adjustment_id": "adj",
    "attempt_id": "att",
    "check_id": "chk",
    "customer_id": "cus",
    "delivery_id": "dlv",
    "deposit_id": "dep",
    "endpoint_id": "we",
    "entry_id": "ent",
    "event_id": "evt",
    "hold_id": "hld",
    "key_id": "key",
    "merchant_id": "mer",
    "payment_id": "pay",
    "payout_id": "out",
    "refund_id": "ref",
    "session_id": "ses",
    "transfer_id": "trf",
    "wallet_id": "wal",
}
"""A parameter of a path by one of these names is an id of that kind; another shape is a 404."""

MAX_PARAMETER = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view answers where the declared status or no headers will not do."""

    body: dict[str, Any]
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """The facts of one route. errors: every refusal it may answer, those of its parts included."""

    name: str
    tag: str
    method: str
    rule: str
    guard: Guard
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answer: type[BaseModel] | None
    status: int
    also: tuple[int, ...]
    once: Once | None
    errors: tuple[type[PaymentsError], ...]
    summary: str
    description: str
    secret_fields: tuple[str, ...]
    in_read_only: bool
    media: tuple[str, ...]
    before: Callable[..., object] | None
    audit: str | None
    parameters: tuple[str, ...]

    @property
    def statuses(self) -> set[int]:
        """Every status it declares, of success and of refusals."""
        return {self.status, *self.also, *(refusal.status for refusal in self.errors)}

    @property
    def writes(self) -> bool:
        """Whether it is refused while the service is read-only."""
        return self.method not in ("GET", "HEAD") and not self.in_read_only


ROUTES: list[Route] = []
"""Every route declared so far, in the order of declaration."""


def routes_of(app: Flask) -> list[Route]:
    """The declared routes that this app serves."""
    found = [getattr(view, "route", None) for view in app.view_functions.values()]
    return sorted((route for route in found if route is not None), key=lambda r: (r.rule, r.method))


def route(
    bp: Blueprint,
    rule: str,
    *,
    caller: Guard,
    summary: str,
    method: str = "GET",
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    answer: type[BaseModel] | None = None,
    status: int = 200,
    also: tuple[int, ...] = (),
    once: Once | None = None,
    errors: tuple[type[PaymentsError], ...] = (),
    secret_fields: tuple[str, ...] = (),
    in_read_only: bool = False,
    media: tuple[str, ...] = ("application/json",),
    before: Callable[..., object] | None = None,
    audit: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Register the view under this rule.

    The view is called with what it names among `caller`, `body`, `query` and the rule's parameters,
    and returns a dict, an `Answer`, or a Response (a stream, a page). With `once` it runs inside
    the unit of work that this opens, together with its `Idempotency-Key`; without, outside any:
    it may read, or open units by `db.in_unit`. errors: its refusals beyond those of guard, body,
    key and read-only, which are added. also: statuses beside `status` with the same answer (a
    deposit that was there already). secret_fields: shown this once, null in a replay.
    in_read_only: whether it goes on while the service takes no writes. answer None: no JSON.

    before: called with the view's arguments before its unit is opened, in none, unless the key has
    an answer already: for what must be committed first (a try is counted, then the code compared).
    audit: the action's name; a refused call is written into the audit trail under it, one that is
    done is the room's to write, with before and after.
    Raises ValueError for a declaration that contradicts itself.
    """
    _must_make_sense(method, rule, body, once)
    if before is not None and Customer in caller.kinds:
        raise ValueError(f"{method} {rule}: a customer's session is asked in the unit, not before")
    parameters = tuple(
        part.strip("<>").rpartition(":")[2] for part in rule.split("/") if "<" in part
    )

    def declare(view: Callable[..., Any]) -> Callable[..., Response]:
        facts = Route(
            view.__name__, bp.name, method, rule, caller, body, query, answer, status, also,
            once, (), summary,
            inspect.cleandoc(view.__doc__ or ""), secret_fields, in_read_only, media, before,
            audit, parameters,
        )  # fmt: skip
        object.__setattr__(facts, "errors", _all_errors(facts, errors))
        served = _serve(facts, view)
        served.route = facts  # type: ignore[attr-defined]
        ROUTES.append(facts)
        bp.add_url_rule(rule, endpoint=view.__name__, view_func=served, methods=[method])
        return served

    return declare


def _must_make_sense(method: str, rule: str, body: object, once: object) -> None:
    if (body is not None) != (method in ("POST", "PATCH", "PUT")):
        raise ValueError(f"{method} {rule}: a body belongs to POST, PATCH and PUT, and to each")
    if once is not None and method == "GET":
        raise ValueError(f"{method} {rule}: a read is no intent")


def _all_errors(
    facts: Route, own: tuple[type[PaymentsError], ...]
) -> tuple[type[PaymentsError], ...]:
    found = [*facts.guard.refusals, errors.InvalidRequest, *own]
    if facts.body is not None:
        found += [errors.MalformedJson, errors.BodyTooLarge, errors.UnsupportedMediaType]
    if facts.once is not None:
        found += [errors.IdempotencyKeyInvalid, errors.IdempotencyKeyReused]
        found += [errors.RequestInProgress]
    if facts.once == "required":
        found.append(errors.IdempotencyKeyRequired)
    if facts.writes:
        found.append(errors.ReadOnly)
    if facts.parameters:
        found.append(errors.NotFound)
    if facts.query is not None and issubclass(facts.query, PageQuery):
        found.append(errors.InvalidCursor)
    order = errors.all_errors()
    return tuple(sorted(set(found), key=lambda kind: (kind.status, order.index(kind))))


def _serve(facts: Route, view: Callable[..., Any]) -> Callable[..., Response]:
    """The function that Flask calls, with everything decided that can be decided beforehand."""
    named = inspect.signature(view).parameters
    wants_caller, wants_body, wants_query = (n in named for n in ("caller", "body", "query"))
    shapes = tuple((name, PREFIXES.get(name)) for name in facts.parameters)

    @functools.wraps(view)
    def serve(**given: Any) -> Response:
        request = requests.current()
        try:
            caller = facts.guard.admit(request)
        except PaymentsError as refusal:
            if facts.guard is guards.operator:
                _note_stranger(facts, request, refusal, given)
            raise
        premise = None
        if needs_session(caller, request):
            if facts.once is None:
                callers.require_session(caller)
            else:
                premise = callers.session_premise(caller)
        if wants_caller:
            given["caller"] = caller
        actor = caller.scope if caller is not None else "anonymous"
        with origin.acting(actor, request.request_id):
            try:
                return answer(request, premise, given)
            except PaymentsError as refusal:
                follow(facts, refusal, given)
                raise

    def answer(request: ApiRequest, premise: Premise | None, given: dict[str, Any]) -> Response:
        for name, prefix in shapes:
            _must_have_shape(given[name], prefix)
        if facts.writes and settings.is_read_only():
            raise errors.ReadOnly("The service takes no writes just now. Reads go on.")
        tree = None
        if facts.body is not None:
            body, tree = bodies.read(request, facts.body)
            if wants_body:
                given["body"] = body
        query = bodies.query(request, facts.query)
        if wants_query:
            given["query"] = query
        if facts.once is None:
            return _response(facts, view(**given))
        return _once(facts, request, tree, view, premise, given)

    return serve


def follow(facts: Route, refusal: PaymentsError, given: Mapping[str, Any]) -> None:
    """What a refusal leaves behind: its consequence, and the line of the audit trail."""
    if settings.is_read_only() and not facts.in_read_only:
        return
    if refusal.consequence is not None:
        db.in_unit(refusal.consequence)
    if facts.audit is not None:
        subject = _subject(facts, given)
        who = origin.current()
        action, outcome = facts.audit, refusal.code
        db.in_unit(
            lambda: audit_trail.record(
                who.actor, action, subject, outcome=outcome, request_id=who.request_id
            ),
            in_read_only=facts.in_read_only,
        )


def _note_stranger(
    facts: Route, request: ApiRequest, refusal: PaymentsError, given: Mapping[str, Any]
) -> None:
    action = facts.audit or f"{facts.method} {facts.rule}"
    subject = _subject(facts, given)
    strangers.write_down(request, refusal, action, subject, in_read_only=facts.in_read_only)


def _subject(facts: Route, given: Mapping[str, Any]) -> str | None:
    """The id in the path; what only stands where one should is not written down."""
    for name in facts.parameters:
        if name in PREFIXES and ids.is_id(PREFIXES[name], given[name]):
            return str(given[name])
    return None


def _must_have_shape(value: str, prefix: str | None) -> None:
    if prefix is not None:
        if not ids.is_id(prefix, value):
            raise NotFound
    elif len(value) > MAX_PARAMETER or not value.isprintable():
        raise NotFound


def _once(
    facts: Route,
    request: ApiRequest,
    tree: Any,
    view: Callable[..., Any],
    premise: Premise | None,
    given: dict[str, Any],
) -> Response:
    headers: dict[str, str] = {}

    def answered() -> tuple[dict[str, Any], int]:
        result = view(**given)
        if isinstance(result, Answer):
            headers.update(result.headers)
            return result.body, result.status or facts.status
        return result, facts.status

    intent = _intent(facts, request, tree)
    if facts.before is not None and (intent is None or not idempotency.answered(intent)):
        facts.before(**given)
    stored = idempotency.once(
        intent, answered, facts.secret_fields, premise, in_read_only=facts.in_read_only
    )
    if stored.replayed:
        logs.bind(replayed=True)
        headers["Idempotent-Replayed"] = "true"
        if facts.secret_fields:
            headers["Idempotent-Secrets-Omitted"] = ", ".join(facts.secret_fields)
    return _json(facts, stored.text, stored.status, headers)


def _intent(facts: Route, request: ApiRequest, tree: Any) -> idempotency.Intent | None:
    key = idempotency.key_of(request)
    if key is None:
        if facts.once == "required":
            raise errors.IdempotencyKeyRequired(
                "This call moves or promises money: send an Idempotency-Key of your own making."
            )
        return None
    # Without a caller the key belongs to the address: nobody reads another's answer by its key.
    scope = (
        request.caller.scope
        if facts.guard.kinds and request.caller is not None
        else f"address:{request.client_address}"
    )
    whole = idempotency.fingerprint(
        request.method, request.path, request.environ.get("QUERY_STRING", ""), tree
    )
    return idempotency.Intent(scope, key, whole)


def _response(facts: Route, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    if isinstance(result, Answer):
        text = idempotency.to_json(result.body)
        return _json(facts, text, result.status or facts.status, result.headers)
    return _json(facts, idempotency.to_json(result), facts.status, {})


def _json(facts: Route, text: str, status: int, headers: Mapping[str, str]) -> Response:
    if flask.current_app.testing:
        _must_fit(facts, text, status)
    response = Response(text, status=status, mimetype="application/json", headers=dict(headers))
    if facts.method != "GET":
        response.headers["Cache-Control"] = "no-store"
    return response


def _must_fit(facts: Route, text: str, status: int) -> None:
    """In tests: an answer that its declaration does not describe is a fault of ours."""
    if facts.answer is None or status not in (facts.status, *facts.also):
        raise AssertionError(f"{facts.method} {facts.rule} does not declare this {status} as JSON")
    facts.answer.model_validate(json.loads(text))
