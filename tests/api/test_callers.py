"""Who is calling: one credential counts, chosen by the path, and its failure is remembered."""

import logging

import pytest

from payments.customers import sessions
from tests.api import calls, echo
from tests.checkout import world as rooms
from tests.checkout.world import did

NEW, OLD = "new-" + "0123456789abcdef" * 3, "old-" + "0123456789abcdef" * 3


@pytest.fixture
def both(make_app):
    """A client and the credentials of a small world."""
    app = make_app(**calls.SETTINGS)
    app.register_blueprint(echo.blueprint())
    world = calls.make(app)
    return app.test_client(), world.headers


def test_with_several_credentials_the_path_says_which_counts(both):
    client, headers = both
    every = headers["ann"] | headers["taxi"] | headers["operator"]
    assert client.get("/v1/me", headers=every).status_code == 200
    assert client.get("/internal/deposits", headers=every).status_code == 200
    assert client.get("/admin/things", headers=every).status_code == 200


@pytest.mark.parametrize(
    ("path", "wrong"),
    [("/v1/me", "forged token"), ("/internal/deposits", "wrong secret"),
     ("/admin/things", "wrong admin")],
)  # fmt: skip
def test_a_wrong_one_is_not_made_good_by_another(both, path, wrong):
    client, headers = both
    every = headers["ann"] | headers["taxi"] | headers["operator"] | headers[wrong]
    answer = client.get(path, headers=every)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")


def test_a_public_call_does_not_mind_a_wrong_credential(both):
    client, headers = both
    for name in ("forged token", "expired token", "revoked key", "wrong secret", "wrong admin"):
        assert client.get("/docs", headers=headers[name]).status_code == 200


@pytest.mark.parametrize(
    ("variable", "header", "path"),
    [
        ("INTERNAL_API_SECRET", "X-Internal-Secret", "/internal/deposits"),
        ("ADMIN_TOKEN", "X-Admin-Token", "/admin/things"),
    ],
)
def test_a_rotation_refuses_nobody_and_the_old_secret_s_use_is_noted(
    make_app, caplog, variable, header, path
):
    for entries, known in [
        (f"{OLD},{NEW}", {OLD, NEW}),
        (f"{NEW},{OLD}", {OLD, NEW}),
        (NEW, {NEW}),
    ]:
        app = make_app(**{variable: entries})
        app.register_blueprint(echo.blueprint())
        client = app.test_client()
        for secret in (OLD, NEW):
            caplog.clear()
            with caplog.at_level(logging.INFO, "payments.api.callers"):
                answer = client.get(path, headers={header: secret})
            assert answer.status_code == (200 if secret in known else 401)
            noted = [r for r in caplog.records if r.name == "payments.api.callers"]
            is_second = secret in known and not entries.startswith(secret)
            assert [(r.variable, r.place) for r in noted] == [(variable, 2)] * is_second
            assert secret not in caplog.text


def test_an_access_token_outlives_a_rotation(make_app):
    before = make_app(JWT_SECRET=OLD)
    with before.app_context():
        customer = rooms.customer()
        token = did(lambda: sessions.start(customer, "tests")).access_token
    for secrets, status in [(f"{NEW},{OLD}", 200), (NEW, 401)]:
        client = make_app(JWT_SECRET=secrets).test_client()
        assert client.get("/v1/me", headers=calls.bearer(token)).status_code == status


def test_the_bare_secret_is_refused_where_signatures_are_required(make_app):
    app = make_app(**calls.SETTINGS, INTERNAL_REQUIRE_HMAC="true")
    answer = app.test_client().get("/internal/deposits", headers={"X-Internal-Secret": calls.TAXI})
    assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
    assert "/docs" in answer.json["detail"]


def test_nobody_is_taken_for_unknown_because_the_database_is_away(make_app, monkeypatch):
    app = make_app(**calls.SETTINGS)
    world = calls.make(app)
    store = app.extensions["payments"]
    taken = [store.checkout() for _ in range(20)]  # every connection there may be
    monkeypatch.setattr(store.engine.pool, "_timeout", 0.05)
    try:
        for path in ("/v1/payments", "/docs", "/nowhere"):
            answer = app.test_client().get(path, headers=world.headers["shop"])
            assert (answer.status_code, answer.json["code"]) == (503, "busy")
            assert int(answer.headers["Retry-After"]) >= 1
    finally:
        for connection in taken:
            connection.close()
    assert app.test_client().get("/v1/payments", headers=world.headers["shop"]).status_code == 200


@pytest.mark.parametrize("spelling", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_spelled_in_any_case(both, spelling):
    client, headers = both
    token = headers["ann"]["Authorization"].removeprefix("Bearer ")
    answer = client.get("/v1/me", headers={"Authorization": f"{spelling} {token}"})
    assert answer.status_code == 200
