"""No route can be forgotten: each one is declared, guarded and answers as declared."""

import pytest

from payments.api import guards
from payments.api.bodies import Body, Empty
from payments.api.console.door import pages_of
from payments.api.guards import Guard
from payments.api.paging import PageQuery
from payments.api.routing import ROUTES, route, routes_of
from payments.app import BLUEPRINTS

PUBLIC = {
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/docs/errors"),
    ("GET", "/docs/style.css"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/metrics"),  # asks for its own token, where there is one
    ("GET", "/openapi.json"),
    ("POST", "/v1/auth/otp"),
    ("POST", "/v1/auth/refresh"),
    ("POST", "/v1/auth/token"),
}
"""What takes no credential. Another one is a decision, and is made here."""


def test_every_url_rule_is_declared(app):
    declared = {(facts.method, facts.rule) for facts in routes_of(app)}
    served = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    pages = {(page.method, page.rule) for page in pages_of(app)}
    assert not declared & pages
    assert served == declared | pages
    assert declared <= {(facts.method, facts.rule) for facts in ROUTES}


def test_every_route_has_a_guard_and_the_public_ones_are_known(app):
    assert all(isinstance(facts.guard, Guard) for facts in routes_of(app))
    open_ones = {(r.method, r.rule) for r in routes_of(app) if not r.guard.kinds}
    assert open_ones <= PUBLIC


OPEN_PAGES = {
    ("GET", "/admin/console/rq.css"),
    ("GET", "/admin/console/sign_in"),
    ("GET", "/admin/console/style.css"),
    ("POST", "/admin/console/sign_in"),
}
"""What of the console is shown to anybody."""


def test_every_page_is_the_consoles_and_the_open_ones_are_known(app):
    pages = pages_of(app)
    assert len(pages) > 30
    assert all(page.rule.startswith("/admin/") for page in pages)
    assert {(page.method, page.rule) for page in pages if page.open} == OPEN_PAGES
    assert all(page.method == "GET" for page in pages if page.rule.startswith("/admin/rq"))


def test_paths_say_whose_they_are(app):
    for facts in routes_of(app):
        if facts.rule.startswith("/internal/"):
            assert facts.guard is guards.service
        elif facts.rule.startswith("/admin/"):
            assert facts.guard is guards.operator
        else:
            assert facts.guard not in (guards.service, guards.operator)


def test_every_post_under_internal_needs_a_key(app):
    for facts in routes_of(app):
        if facts.method == "POST" and facts.rule.startswith("/internal/"):
            assert facts.once == "required", facts.rule


@pytest.mark.parametrize(
    "rule",
    ["/v1/payments", "/v1/payments/<payment_id>/confirm", "/v1/payments/<payment_id>/decline",
     "/v1/payments/<payment_id>/capture", "/v1/payments/<payment_id>/cancel", "/v1/refunds",
     "/v1/pay", "/v1/transfers", "/internal/deposits", "/internal/transfers", "/admin/refunds",
     "/admin/payouts",
     "/admin/payouts/<payout_id>/approve", "/admin/adjustments",
     "/admin/adjustments/<adjustment_id>/approve"],
)  # fmt: skip
def test_what_moves_promises_or_ends_money_needs_a_key(app, rule):
    (facts,) = [r for r in routes_of(app) if (r.method, r.rule) == ("POST", rule)]
    assert facts.once == "required"


def test_every_post_honours_a_key(app):
    """api.md: where it is not required, it is optional and honoured."""
    for facts in routes_of(app):
        if facts.method == "POST":
            assert facts.once in ("required", "optional"), facts.rule


def test_every_change_of_an_operator_stands_in_the_audit_trail(app):
    for facts in routes_of(app):
        if facts.guard is guards.operator:
            assert (facts.audit is not None) == (facts.method != "GET"), facts.rule


WHOLE_LISTS = {"/internal/wallets"}
"""Lists that are never longer than one page: one wallet a currency."""


def test_every_list_is_a_page(app):
    for facts in routes_of(app):
        if facts.rule in WHOLE_LISTS:
            continue
        if facts.answer is not None and "next_cursor" in facts.answer.model_fields:
            assert facts.query is not None and issubclass(facts.query, PageQuery), facts.rule
            assert set(facts.answer.model_fields) >= {"data", "next_cursor"}


def test_every_model_is_strict(app):
    for facts in routes_of(app):
        for model in (facts.body, facts.query):
            if model is not None:
                assert issubclass(model, Body), f"{facts.rule}: {model}"
                assert model.model_config["strict"] and model.model_config["extra"] == "forbid"


def test_every_json_answer_has_a_model(app):
    for facts in routes_of(app):
        assert ("application/json" in facts.media) == (facts.answer is not None), facts.rule


def test_every_route_says_what_it_does(app):
    for facts in routes_of(app):
        assert facts.summary and facts.description, facts.rule
        assert not facts.summary.endswith("."), facts.rule


def test_blueprints_are_named_after_what_they_serve():
    names = [bp.name for bp in BLUEPRINTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"method": "POST"}, "a body belongs"),
        ({"method": "GET", "body": Empty}, "a body belongs"),
        ({"method": "DELETE", "body": Empty}, "a body belongs"),
        ({"method": "GET", "once": "optional"}, "no intent"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(facts, fault):
    with pytest.raises(ValueError, match=fault):
        route(BLUEPRINTS[0], "/v1/x", caller=guards.anyone, summary="X", **facts)


def test_a_scope_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no scope"):
        guards.merchant("payments:wirte")
