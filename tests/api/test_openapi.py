"""The document is valid, whole, and says what the service does."""

import re

import pytest
from openapi_spec_validator import validate

from payments import errors
from payments.api.routing import routes_of
from tests.api import echo


@pytest.fixture
def document(echo_client):
    return echo_client.get("/openapi.json").json


def operations(document):
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def shared(document, response):
    """The response itself, where it is one that several calls share."""
    reference = response.get("$ref")
    if reference is None:
        return response
    return document["components"]["responses"][reference.rpartition("/")[2]]


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_is_in_it(echo_app, document):
    served = {(re.sub(r"<(\w+)>", r"{\1}", r.rule), r.method.lower()) for r in routes_of(echo_app)}
    assert served == {(path, method) for path, method, _ in operations(document)}
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


def test_every_refusal_of_a_route_is_in_it_under_its_status(echo_app, document):
    for facts in routes_of(echo_app):
        path = re.sub(r"<(\w+)>", r"{\1}", facts.rule)
        responses = document["paths"][path][facts.method.lower()]["responses"]
        for kind in facts.errors:
            response = shared(document, responses[str(kind.status)])
            schema = response["content"]["application/problem+json"]["schema"]
            assert kind.code in schema["allOf"][1]["properties"]["code"]["enum"]


def test_every_path_parameter_is_described(document):
    for path, _, operation in operations(document):
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_the_key_the_body_and_the_security_of_a_call(document):
    made = document["paths"]["/admin/things"]["post"]
    (key,) = [p for p in made["parameters"] if p["in"] == "header"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)
    assert made["security"] == [{"admin_token": []}]
    assert document["components"]["securitySchemes"]["admin_token"]["name"] == "X-Admin-Token"
    body = made["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][body.rpartition("/")[2]]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["amount"]
    assert schema["properties"]["amount"]["maximum"] == 10**15
    assert "Idempotent-Replayed" in made["responses"]["201"]["headers"]
    (optional,) = [
        p for p in document["paths"]["/v1/things"]["post"]["parameters"] if p["in"] == "header"
    ]
    assert optional["required"] is False
    assert document["paths"]["/v1/things"]["post"]["security"] == []


def test_a_query_is_shown_as_parameters_with_its_bounds(document):
    listed = document["paths"]["/admin/things"]["get"]["parameters"]
    assert {p["name"] for p in listed} == {"limit", "cursor", "reference"}
    limit = next(p["schema"] for p in listed if p["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 100, 20)


def test_a_real_answer_and_a_real_problem_fit_it(echo_client, document):
    problem = document["components"]["schemas"]["Problem"]
    answer = echo_client.post("/v1/things", json={}).json
    assert set(problem["required"]) <= set(answer) <= set(problem["properties"])


def test_what_anybody_may_answer_is_on_every_call(document):
    for _, _, operation in operations(document):
        assert {"404", "405", "429", "500", "503"} <= set(operation["responses"])


def test_it_is_for_everybody_and_conditional(echo_client):
    first = echo_client.get("/openapi.json")
    assert first.status_code == 200
    again = echo_client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


def test_it_names_no_code_that_does_not_exist(document):
    known = {kind.code for kind in errors.all_errors()}
    named = set()
    for _, _, operation in operations(document):
        for response in operation["responses"].values():
            whole = shared(document, response)
            problem = whole.get("content", {}).get("application/problem+json")
            if problem:
                named |= set(problem["schema"]["allOf"][1]["properties"]["code"]["enum"])
    assert named and named <= known


def test_two_models_of_one_name_are_told_apart(app):
    app.register_blueprint(echo.blueprint())
    app.register_blueprint(echo.namesake())
    document = app.test_client().get("/openapi.json").json
    validate(document)
    refs = {
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"][
            "$ref"
        ]
        for path in ("/v1/things", "/v1/namesake")
    }
    assert len(refs) == 2
