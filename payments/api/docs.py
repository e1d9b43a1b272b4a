"""`/docs`: the guide and every route, for people; `/docs/errors`: every code, explained.

Made from the same document as `/openapi.json`, in plain HTML: no script, nothing from another host.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, render_template, request
from markupsafe import Markup, escape

from payments import config, errors, money
from payments.api import guards, openapi, signatures
from payments.api.advice import ADVICE
from payments.api.routing import route, routes_of
from payments.errors import PaymentsError
from payments.events import types

bp = Blueprint("docs", __name__, template_folder="templates")

_STYLE = (Path(__file__).parent / "templates" / "docs" / "style.css").read_text()
_BACKTICKS = re.compile(r"`([^`]+)`")
_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a body, an answer or a query."""

    name: str
    kind: Markup
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Call:
    """One route as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    description: list[str]
    key: str
    body: list[Field] | None
    query: list[Field]
    answers: list[tuple[str, Markup, list[Field]]]
    codes: list[tuple[int, str]]


@route(
    bp, "/", caller=guards.anyone, status=302, media=("text/html",), summary="The way to the guide"
)
def root() -> Response:
    """Leads a browser to `/docs`."""
    return Response(status=302, headers={"Location": "/docs"}, mimetype="text/html")


@route(bp, "/docs", caller=guards.anyone, media=("text/html",), summary="The guide, as a page")
def guide() -> Response:
    """How to call this service, and every route."""
    return _page(
        "docs/guide.html",
        **_contents(),
        vectors=signatures.VECTORS,
        scopes=guards.SCOPES,
        types=types.EVENT_TYPES,
        max_amount=f"{money.MAX_AMOUNT:,}",
    )


@route(
    bp, "/docs/errors", caller=guards.anyone, media=("text/html",), summary="Every code, explained"
)
def codes() -> Response:
    """The page that a problem's `type` leads to."""
    kinds = sorted(errors.all_errors(), key=lambda kind: kind.status)
    return _page(
        "docs/errors.html",
        kinds=[(kind, [*_paragraphs(kind), ADVICE[kind.code]]) for kind in kinds],
    )


@route(bp, "/docs/style.css", caller=guards.anyone, media=("text/css",), summary="The pages' style")
def style() -> Response:
    """The one file that the pages load."""
    return _public(Response(_STYLE, mimetype="text/css"))


def _page(template: str, **facts: Any) -> Response:
    page = render_template(template, url=config.current().public_url, **facts)
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return _public(response)


def _public(response: Response) -> Response:
    """The same for everybody; a browser asks each time whether it has changed."""
    response.headers["Cache-Control"] = "public, no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


@bp.app_template_filter("code")
def _code(text: str) -> Markup:
    """Text with `words` in backticks as code; everything else is escaped."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped)


@bp.app_template_filter("title_of")
def _title_of(tag: str) -> str:
    return tag.replace("_", " ").capitalize().replace("Api ", "API ")


def _paragraphs(kind: type[PaymentsError]) -> list[str]:
    text = " ".join(line.strip() or "\n" for line in (kind.__doc__ or "").splitlines())
    return [part.strip() for part in text.split("\n") if part.strip()]


def _contents() -> dict[str, Any]:
    """The calls by resource and the objects by name, made once for each app."""
    made: dict[str, Any] | None = current_app.extensions.get("payments_docs")
    if made is None:
        document = openapi.build(routes_of(current_app))
        parts = document["components"]
        by_tag: dict[str, list[Call]] = {}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                call = _call(path, method, operation, parts)
                by_tag.setdefault(operation["tags"][0], []).append(call)
        schemas = parts["schemas"]
        objects = [
            (name, schema.get("description", ""), _kind(schema), _fields(schema, schemas))
            for name, schema in sorted(schemas.items())
        ]
        made = {"groups": sorted(by_tag.items()), "objects": objects}
        current_app.extensions["payments_docs"] = made
    return made


def _call(path: str, method: str, operation: dict[str, Any], parts: dict[str, Any]) -> Call:
    schemas = parts["schemas"]
    keys = [p for p in operation["parameters"] if p["in"] == "header"]
    query = [p for p in operation["parameters"] if p["in"] == "query"]
    body = operation.get("requestBody")
    answers, refusals = [], []
    for status, response in operation["responses"].items():
        content = _resolved(response, parts["responses"]).get("content", {})
        for media, held in content.items():
            if media == "application/problem+json":
                codes = held["schema"]["allOf"][1]["properties"]["code"]["enum"]
                refusals += [(int(status), code) for code in codes]
            else:
                schema = held["schema"]
                answers.append((f"{status} {media}", _kind(schema), _fields(schema, schemas)))
    return Call(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation["description"].split("\n\n"),
        key="" if not keys else "required" if keys[0]["required"] else "optional",
        body=_fields(body["content"]["application/json"]["schema"], schemas) if body else None,
        query=[
            Field(p["name"], _kind(_given(p["schema"])), p["required"], _words(p["schema"]))
            for p in query
        ],
        answers=answers,
        codes=refusals,
    )


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> list[Field]:
    schema = _resolved(schema, schemas)
    required = schema.get("required", ())
    return [
        Field(name, _kind(held), name in required, _words(held))
        for name, held in schema.get("properties", {}).items()
    ]


def _resolved(part: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in part:
        found: dict[str, Any] = parts[part["$ref"].rpartition("/")[2]]
        return found
    return part


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a query parameter: a query has no null, it leaves out."""
    parts = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    return {**schema, "anyOf": parts} if parts else schema


def _kind(schema: dict[str, Any]) -> Markup:
    """A type in a few words: `integer, 1 to 100`, `array of Line`, `EUR or USD`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#object-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(dict.fromkeys(_kind(part) for part in schema["anyOf"]))
    if "const" in schema:
        return escape(f"“{schema['const']}”")
    if "enum" in schema:
        return escape(" or ".join(f"“{value}”" for value in schema["enum"]))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return escape(" or ".join(kind))
    if kind == "array":
        return Markup("array of {}").format(_kind(schema.get("items", {})))
    return escape(f"{kind}{_bounds(schema)}")


def _bounds(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("minLength"))
    high = schema.get("maximum", schema.get("maxLength"))
    if schema.get("format"):
        return f" ({schema['format']})"
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if high is not None:
        return f", at most {high:,}"
    return f", at least {low:,}" if low is not None else ""


def _words(schema: dict[str, Any]) -> str:
    described = schema.get("description", "")
    if not described:
        described = " ".join(part.get("description", "") for part in schema.get("anyOf", ()))
    default = schema.get("default")
    return f"{described.strip()} {f'Default {default}.' if default is not None else ''}".strip()
