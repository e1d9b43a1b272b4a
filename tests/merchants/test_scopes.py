"""Each route that needs a scope asks for it: generated from the routes that the service has."""

import re
from typing import get_args

import pytest
from flask import Flask
from flask.testing import FlaskClient

from payments.api.guards import SCOPES
from payments.api.routing import PREFIXES, Route, routes_of
from payments.api.schemas.api_keys import Scope
from payments.origin import Merchant
from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import Caller, detail, refused, told


def some_url(route: Route) -> str:
    """The route's URL with ids of the right shape that nothing has."""

    def filled(match: re.Match[str]) -> str:
        prefix = PREFIXES.get(match[1])
        return "nothing" if prefix is None else f"{prefix}_{'0' * 32}"

    return re.sub(r"<(?:\w+:)?(\w+)>", filled, route.rule)


def ask(caller: Caller, route: Route):
    """Call the route with nothing that fits: what comes first is who may ask."""
    url = some_url(route)
    if route.method in ("POST", "PATCH"):
        return (caller.post if route.method == "POST" else caller.patch)(url, {"no such": "field"})
    return (caller.get if route.method == "GET" else caller.delete)(url)


@pytest.fixture
def app(make_app) -> Flask:
    """The service, with a rate limit that is not what these tests are about."""
    return make_app(RATE_LIMIT_PER_MINUTE="10000")


@pytest.fixture
def keys(client: FlaskClient, shop: str) -> dict[str, Caller]:
    """A key of each scope alone."""
    return {scope: callers.with_key(client, shop, scope) for scope in [*SCOPES, "*"]}


def for_merchants(app: Flask) -> list[Route]:
    found = [route for route in routes_of(app) if Merchant in route.guard.kinds]
    assert len(found) > 10
    return found


def test_the_scopes_that_are_given_are_those_that_are_asked_for():
    assert set(get_args(Scope)) == {*SCOPES, "*"}


def test_each_route_opens_to_its_scope_alone(app, keys):
    for route in for_merchants(app):
        for scope, caller in keys.items():
            answer = ask(caller, route)
            what = f"{route.method} {route.rule} by {scope}: {answer.text}"
            if route.guard.scope in (None, scope) or scope == "*":
                assert answer.status_code not in (401, 403), what
            else:
                assert refused(answer) == (403, "scope_missing"), what
                assert route.guard.scope in detail(answer), what


def test_only_the_merchant_itself_is_open_to_any_scope(app):
    without = {(route.method, route.rule) for route in for_merchants(app) if not route.guard.scope}
    assert without == {("GET", "/v1/merchant"), ("GET", "/v1/merchants/<merchant_id>")}


def test_a_route_that_changes_something_does_not_open_to_a_scope_that_reads(app):
    for route in for_merchants(app):
        if route.method != "GET":
            assert not str(route.guard.scope).endswith(":read"), route.rule


def test_each_route_of_merchants_is_closed_to_other_kinds_and_to_nobody(app, client, keys):
    others = [callers.service(client), callers.operator(client)]
    for route in for_merchants(app):
        assert refused(ask(Caller(client), route)) == (401, "unauthenticated")
        for caller in others:
            assert refused(ask(caller, route)) == (403, "forbidden"), route.rule


def test_a_key_opens_no_route_of_others(app, keys):
    closed = [r for r in routes_of(app) if r.guard.kinds and Merchant not in r.guard.kinds]
    assert len(closed) > 10
    for route in closed:
        assert refused(ask(keys["*"], route)) == (403, "forbidden"), route.rule


@pytest.mark.parametrize(
    ("scope", "method", "url", "body"),
    [
        ("payments:write", "post", "/v1/payments", {"amount": 1, "currency": "EUR"}),
        ("payments:read", "get", "/v1/payments", None),
        ("payments:read", "get", "/v1/refunds", None),
        ("settlements:read", "get", "/v1/balance", None),
        ("api_keys", "get", "/v1/api_keys", None),
        ("api_keys", "post", "/v1/api_keys", {"name": "next", "scopes": ["api_keys"]}),
    ],
)
def test_what_api_md_says_that_a_scope_opens(keys, scope, method, url, body):
    def call(caller: Caller):
        return caller.get(url) if method == "get" else caller.post(url, body)

    assert call(keys[scope]).status_code in (200, 201)
    closed = [name for name in keys if name not in (scope, "*")]
    assert {refused(call(keys[name])) for name in closed} == {(403, "scope_missing")}


def test_a_refund_needs_its_own_scope(client, keys, shop):
    payer = world.customer("+4915112345678", has=20_00)
    paid = world.confirms(payer, world.asks(shop, 10_00).id).id
    assert refused(keys["payments:write"].post("/v1/refunds", {"payment": paid})) == (
        403,
        "scope_missing",
    )
    assert world.purse(payer) == (10_00, 0)
    assert told(keys["refunds:write"].post("/v1/refunds", {"payment": paid}), 201)
    assert world.purse(payer) == (20_00, 0)


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_an_ended_key_opens_no_route_at_all(app, client, shop, end):
    row, secret = callers.key_row(shop)
    caller = callers.bearer(client, secret)
    code = "key_revoked" if end == "revoked" else "token_expired"
    callers.end_key(row.id, end)
    for route in for_merchants(app):
        assert refused(ask(caller, route)) == (401, code), route.rule
