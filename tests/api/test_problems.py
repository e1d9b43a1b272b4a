"""Every refusal has one shape, whoever raised it."""

import json
import logging

import pytest

from payments import errors
from payments.api import problems
from payments.api.advice import ADVICE
from tests.api import echo
from tests.api.conftest import ADMIN

PATHS = {
    "not_found": ("GET", "/v1/nothing/here"),
    "method_not_allowed": ("DELETE", "/v1/things"),
    "unauthenticated": ("GET", "/admin/things"),
    "malformed_json": ("POST", "/v1/things"),
}


@pytest.mark.parametrize(("code", "call"), PATHS.items())
def test_every_refusal_is_a_problem(echo_client, settings, code, call):
    method, path = call
    answer = echo_client.open(path, method=method, content_type="application/json")
    kind = next(kind for kind in errors.all_errors() if kind.code == code)
    assert answer.status_code == kind.status
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {
        "type": f"{settings.public_url}/docs/errors#{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": answer.json["detail"],
        "code": code,
        "request_id": answer.headers["X-Request-ID"],
    }
    assert answer.json["detail"]


def test_405_says_what_is_allowed(echo_client):
    allowed = echo_client.delete("/v1/things").headers["Allow"]
    assert set(allowed.split(", ")) == {"POST", "OPTIONS"}


@pytest.mark.parametrize(
    ("path", "challenge"),
    [
        ("/admin/things", 'X-Admin-Token realm="admin"'),
        ("/internal/wallets", 'X-Internal-Secret realm="internal"'),
        ("/v1/payments", 'Bearer realm="payments"'),
    ],
)
def test_401_says_what_to_send(echo_app, path, challenge):
    with echo_app.test_request_context(path):
        answer = problems.answer(errors.Unauthenticated("No."))
    assert answer.headers["WWW-Authenticate"] == challenge


def test_a_fault_of_ours_is_a_500_that_tells_nothing_and_logs_everything(echo_client, caplog):
    with caplog.at_level(logging.ERROR):
        answer = echo_client.get("/v1/broken")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "4711" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    assert any(
        record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records
    )


def test_the_type_leads_to_where_the_code_is_explained(echo_client, settings):
    problem = echo_client.get("/nowhere").json
    path, _, anchor = problem["type"].removeprefix(settings.public_url).partition("#")
    page = echo_client.get(path)
    assert page.status_code == 200
    assert f'id="{anchor}"' in page.text


def test_every_code_is_explained_with_what_to_do(echo_client):
    page = echo_client.get("/docs/errors").text
    kinds = errors.all_errors()
    assert set(ADVICE) == {kind.code for kind in kinds}
    for kind in kinds:
        section = page.partition(f'<section id="{kind.code}">')[2].partition("</section>")[0]
        assert str(kind.status) in section
        assert section.count("<p>") >= 2


def test_codes_are_those_of_the_contract_and_each_stands_once():
    codes = [kind.code for kind in errors.all_errors()]
    assert len(set(codes)) == len(codes)
    assert all(400 <= kind.status < 600 for kind in errors.all_errors())


def test_a_refusal_that_a_route_does_not_declare_fails_the_test(echo_app):
    echo_app.register_blueprint(echo.undeclared())
    with pytest.raises(AssertionError, match="does not name"):
        echo_app.test_client().get("/v1/undeclared")
    echo_app.testing = False
    assert echo_app.test_client().get("/v1/undeclared").status_code == 402


def test_an_answer_that_does_not_fit_its_model_fails_the_test(echo_app):
    echo_app.register_blueprint(echo.undeclared())
    client = echo_app.test_client()
    assert client.get("/v1/misfit").status_code == 500
    assert client.get("/v1/modelless").status_code == 500
    echo_app.testing = False
    assert client.get("/v1/misfit").json == {"unexpected": 1}


@pytest.mark.parametrize("method", ["PROPFIND", "TRACE", "CONNECT", "get", "X" * 50])
def test_odd_methods_are_refused_as_problems(echo_client, method):
    answer = echo_client.open("/v1/things", method=method)
    assert answer.status_code == 405
    assert answer.json["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    ["/v1/things/", "//v1/things", "/v1//things", "/V1/things", "/v1/things%2F", "/%00", "/../etc",
     "/" + "x" * 5000, "/v1/%ff%fe"],
)  # fmt: skip
def test_what_is_near_a_path_is_not_found(echo_client, path):
    answer = echo_client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_head_is_get_without_a_body(echo_client, operator):
    whole, head = operator.get("/admin/things"), operator.head("/admin/things")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.data))
    assert head.headers["ETag"] == whole.headers["ETag"]
    assert echo_client.head("/admin/things").status_code == 401


def test_options_tells_methods_and_nothing_else(echo_client):
    answer = echo_client.options("/admin/things")
    assert (answer.status_code, answer.data) == (200, b"")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_id_in_a_path_is_judged_by_its_shape_after_the_guard(echo_client, operator):
    for wrong in ("pay_1", "ref_" + "0" * 32, "pay_" + "0" * 31 + "G", "pay_" + "0" * 33, "%00"):
        path = f"/admin/things/{wrong}/end"
        assert echo_client.post(path, json={}).status_code == 401
        answer = operator.post(path, json={})
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_what_is_no_id_is_bounded_too(operator):
    assert operator.get("/admin/others/abc").status_code == 200
    for wrong in ("x" * 129, "a%00b", "a%0Ab"):
        assert operator.get(f"/admin/others/{wrong}").status_code == 404


def test_read_only_refuses_writes_and_leaves_reads(make_app):
    app = make_app(READ_ONLY="true")
    app.register_blueprint(echo.blueprint())
    client = app.test_client()
    for path in ("/v1/things", "/admin/things", "/admin/things/pay_" + "0" * 32 + "/end"):
        answer = client.post(path, json={"amount": 5}, headers={"Idempotency-Key": "k", **ADMIN})
        assert (answer.status_code, answer.json["code"]) == (503, "read_only")
    assert client.get("/admin/things", headers=ADMIN).status_code == 200
    assert client.get("/health").status_code == 200
    assert client.get("/openapi.json").status_code == 200
    for name in ("thing.made", "thing.end", "thing.try", "thing.consequence"):
        assert echo.effects(app, name) == 0


def test_a_refused_call_of_an_operator_is_in_the_audit_trail(echo_app, operator):
    thing = "pay_" + "0" * 32
    operator.post(f"/admin/things/{thing}/end", json={"unknown": 1})
    operator.post("/admin/things/nonsense/end", json={})
    with echo_app.app_context():
        found = echo.TRAIL.all(action="thing.end")
    assert [(row.actor, row.subject_id, row.outcome) for row in found] == [
        ("operator:ann", thing, "invalid_request"),
        ("operator:ann", None, "not_found"),
    ]


def test_the_answer_is_utf_8_as_it_stands(echo_client):
    answer = echo_client.post("/v1/things", json={"amount": 5, "ключ": 1})
    assert "/ключ" in answer.data.decode()
    assert json.loads(answer.data)["errors"][0]["pointer"] == "/ключ"
