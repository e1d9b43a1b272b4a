"""The OpenAPI 3.1 document, made from the declared routes and the models that check the input.

It is generated here rather than by spectree: that needs a second decorator on every view, which can
disagree with the first, and it knows neither security for each route nor problem media types.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from payments import VERSION, config
from payments.api import guards, problems
from payments.api.bodies import Body
from payments.api.routing import PREFIXES, Route, route, routes_of
from payments.errors import PaymentsError

bp = Blueprint("documents", __name__)

REF = "#/components/schemas/{model}"

SECURITY: dict[str, dict[str, str]] = {
    "access_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A customer's access token, from `POST /v1/auth/token`.",
    },
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "sk_...",
        "description": "A merchant's API key, from `POST /v1/api_keys`, with the scope named.",
    },
    "internal_secret": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Internal-Secret",
        "description": "A sister service's secret.",
    },
    "internal_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Internal-Signature",
        "description": "A signed request, with `X-Internal-Timestamp` and `X-Internal-Nonce`:"
        " see /docs#signing.",
    },
    "admin_token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Admin-Token",
        "description": "An operator's token.",
    },
}

_STRING = {"type": "string"}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {"description": "The request's id, as sent or made.", "schema": _STRING},
    "ETag": {"description": "A hash of the body; `If-None-Match` gives 304.", "schema": _STRING},
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer of an earlier call with the same key.",
        "schema": {"const": "true"},
    },
    "Idempotent-Secrets-Omitted": {
        "description": "Members that a replay leaves null: they were shown once.",
        "schema": _STRING,
    },
    "RateLimit-Policy": {"description": 'As in `"minute";q=240;w=60`.', "schema": _STRING},
    "RateLimit": {"description": 'What is left: `"minute";r=239;t=60`.', "schema": _STRING},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "What to send.", "schema": _STRING},
}


class ProblemFault(Body):
    """One thing that is wrong, and where: a JSON pointer (RFC 6901), or `/name` of a query."""

    pointer: str
    detail: str


class Problem(Body):
    """A refusal (RFC 9457). `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ProblemFault] | None = None


class Document(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: str


@route(bp, "/openapi.json", caller=guards.anyone, answer=Document, summary="This document")
def document() -> Response:
    """OpenAPI 3.1, made from what checks the input."""
    return Response(_text(current_app), mimetype="application/json")


def _text(app: Flask) -> str:
    """The document as text, made once for each app: its routes don't change any more."""
    made = app.extensions.get("payments_openapi")
    if made is None:
        made = app.extensions["payments_openapi"] = json.dumps(
            build(routes_of(app)), ensure_ascii=False, separators=(",", ":")
        )
    return str(made)


def build(routes: Iterable[Route]) -> dict[str, Any]:
    """The document of these routes."""
    known = list(routes)
    refs, definitions = _schemas(known)
    refusals: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for facts in known:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", facts.rule)
        paths.setdefault(path, {})[facts.method.lower()] = _operation(
            facts, refs, definitions, refusals
        )
    for facts in known:
        if facts.query is not None:  # shown as parameters
            definitions.pop(refs[facts.query]["$ref"].rpartition("/")[2], None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Payments",
            "version": VERSION,
            "summary": "Wallets, merchants, payments, refunds and signed webhooks.",
            "description": "Amounts are integers in minor units. Guide: /docs."
            " Every error code: /docs/errors.",
        },
        "servers": [{"url": config.current().public_url}],
        "tags": [{"name": tag} for tag in sorted({facts.tag for facts in known})],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "responses": refusals,
            "securitySchemes": SECURITY,
            "headers": HEADERS,
        },
    }


Refs = Mapping[type[BaseModel], dict[str, Any]]


def _schemas(routes: list[Route]) -> tuple[Refs, dict[str, Any]]:
    """A reference for each model, and the definitions that they refer to."""
    models: dict[type[BaseModel], None] = {Problem: None}
    for facts in routes:
        for model in (facts.body, facts.query, facts.answer):
            if model is not None:
                models[model] = None
    keyed, whole = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    refs: dict[type[BaseModel], dict[str, Any]] = {
        model: keyed[(model, "validation")] for model in models
    }
    for schema in whole["$defs"].values():
        for described in schema.get("properties", {}).values():
            _name_bounds(described)
    return refs, whole["$defs"]


def _name_bounds(schema: dict[str, Any]) -> None:
    """Bounds behind a validator of ours: pydantic passes them on by its own names."""
    for ours, name in (("ge", "minimum"), ("le", "maximum")):
        if ours in schema:
            schema[name] = schema.pop(ours)
    for part in schema.get("anyOf", ()):
        _name_bounds(part)


def _operation(
    facts: Route, refs: Refs, definitions: Mapping[str, Any], refusals: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{facts.tag}.{facts.name}",
        "tags": [facts.tag],
        "summary": facts.summary,
        "description": _description(facts),
        "parameters": [
            *_path_parameters(facts),
            *_query_parameters(facts, refs, definitions),
            *_header_parameters(facts),
        ],
        "responses": _responses(facts, refs, refusals),
        "security": [{scheme: []} for scheme in facts.guard.schemes],
    }
    if facts.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[facts.body]}},
        }
    return operation


def _description(facts: Route) -> str:
    parts = [facts.description, f"Caller: {facts.guard.name}."]
    if facts.guard.scope:
        parts.append(f"An API key needs the scope `{facts.guard.scope}`.")
    if facts.secret_fields:
        shown = ", ".join(f"`{name}`" for name in facts.secret_fields)
        parts.append(f"Shown this once: {shown}; null in a replay.")
    return "\n\n".join(part for part in parts if part)


def _path_parameters(facts: Route) -> list[dict[str, Any]]:
    found = []
    for name in facts.parameters:
        schema: dict[str, Any] = {"type": "string", "maxLength": 128}
        if name in PREFIXES:
            schema = {"type": "string", "pattern": f"^{PREFIXES[name]}_[0-9a-f]{{32}}$"}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _query_parameters(
    facts: Route, refs: Refs, definitions: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if facts.query is None:
        return []
    schema = definitions[refs[facts.query]["$ref"].rpartition("/")[2]]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": described,
        }
        for name, described in schema.get("properties", {}).items()
    ]


def _header_parameters(facts: Route) -> list[dict[str, Any]]:
    if facts.method == "GET" or facts.once is None or facts.method != "POST":
        return []
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": facts.once == "required",
            "description": "Your name for this intent, kept 7 days: see /docs#idempotency.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ]


def _responses(facts: Route, refs: Refs, refusals: dict[str, Any]) -> dict[str, Any]:
    """By status. Refusals that several routes share stand in `refusals` once, by their codes."""
    found: dict[str, Any] = {}
    for status in (facts.status, *facts.also):
        found[str(status)] = {
            "description": facts.summary,
            "headers": _headers(*_success_headers(facts)),
            "content": {
                media: {"schema": refs[facts.answer]}
                if media == "application/json" and facts.answer is not None
                else {"schema": {"type": "string"}}
                for media in facts.media
            },
        }
    if facts.method == "GET" and "application/json" in facts.media:
        found["304"] = {"description": "Not modified.", "headers": _headers("ETag")}
    by_status: dict[int, list[type[PaymentsError]]] = {}
    for kind in dict.fromkeys((*facts.errors, *problems.EVERYWHERE)):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        if str(status) in found:  # health answers 503 in its own words
            continue
        name = ".".join(kind.code for kind in kinds)
        refusals.setdefault(name, _problem(status, kinds, refs))
        found[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return found


def _problem(status: int, kinds: list[type[PaymentsError]], refs: Refs) -> dict[str, Any]:
    names = ["X-Request-ID", "RateLimit-Policy", "RateLimit"]
    names += {401: ["WWW-Authenticate"]}.get(status, [])
    names += ["Retry-After"] if status in (409, 429, 503) else []
    codes = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    return {
        "description": " ".join(f"`{kind.code}`: {_first_line(kind)}" for kind in kinds),
        "headers": _headers(*names),
        "content": {problems.MEDIA_TYPE: {"schema": {"allOf": [refs[Problem], codes]}}},
    }


def _first_line(kind: type[PaymentsError]) -> str:
    return (kind.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ").strip()


def _success_headers(facts: Route) -> list[str]:
    names = ["X-Request-ID"]
    if facts.guard is not guards.probe:
        names += ["RateLimit-Policy", "RateLimit"]
    if facts.method == "GET":
        names.append("ETag")
    elif facts.once is not None and facts.method == "POST":
        names.append("Idempotent-Replayed")
        names += ["Idempotent-Secrets-Omitted"] if facts.secret_fields else []
    return names


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
