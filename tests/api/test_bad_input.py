"""Every route refuses what is wrong, clearly, and nothing changes: made from the route table.

The refusals of one database share a world, since they may not change it.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from payments import db, ids
from payments.api import guards
from payments.api.routing import PREFIXES, Route, routes_of
from payments.app import BLUEPRINTS
from payments.origin import Merchant
from tests import databases, redis_server
from tests.api import calls
from tests.api.calls import CALLS, SETTINGS, World

NOTED = {"api_keys": {"last_used_at"}}
"""Statistics, written beside any call."""
TRAIL = {"audit_log"}
"""What a refused call of an operator leaves behind, on purpose."""


def declared() -> list[Route]:
    app = Flask("table")
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return routes_of(app)


def named(facts: Route) -> str:
    return f"{facts.method} {facts.rule}"


EVERY = declared()
GUARDED = [facts for facts in EVERY if facts.guard.kinds]
WITH_BODY = [facts for facts in EVERY if facts.body is not None]
WITH_ID = [facts for facts in GUARDED if facts.parameters]


def each(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("facts", routes, ids=named)


@pytest.fixture
def fresh(make_app) -> World:
    """A world for a call that changes it."""
    return calls.make(make_app(**calls.SETTINGS))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def kept(request, servers, worker_number, tmp_path_factory) -> Iterator[tuple[World, Flask]]:
    """One world on each kind of database, and a second service on it that is read-only."""
    folder = tmp_path_factory.mktemp("bad-input")
    make = databases.fresh_sqlite if request.param == "sqlite" else databases.fresh_postgres
    with ExitStack() as stack:
        environ = databases.environ_for(stack.enter_context(make(servers)), folder, **SETTINGS)
        environ["REDIS_URL"] = redis_server.address(servers.redis_port, worker_number)
        apps = [
            stack.enter_context(databases.app_for(databases.settings_for(given, folder)))
            for given in (environ, environ | {"READ_ONLY": "true"})
        ]
        yield calls.make(apps[0]), apps[1]


@pytest.fixture
def world(kept: tuple[World, Flask]) -> World:
    """The world that the refusals share."""
    return kept[0]


@pytest.fixture
def unchanged(world: World, facts: Route) -> Iterator[None]:
    """Nothing in the database is different afterwards."""
    before = digests(world.app)
    yield
    after = digests(world.app)
    allowed = TRAIL if facts.guard is guards.operator else set()
    assert {name for name in before if before[name] != after[name]} <= allowed


@lru_cache(maxsize=1)
def engine(url: str) -> sa.Engine:
    """For looking at one database from outside the service."""
    return sa.create_engine(url, poolclass=sa.NullPool)


SELECTS = {
    table.name: sa.select(*(c for c in table.columns if c.name not in NOTED.get(table.name, ())))
    for table in db.Base.metadata.sorted_tables
}


def digests(app: Flask) -> dict[str, str]:
    """One digest for each table."""
    with engine(app.extensions["payments"].url).connect() as connection:
        if connection.dialect.name == "postgresql":
            return {name: digest for name, digest in connection.execute(DIGESTS)}
        cursor = connection.connection.cursor()
        return {name: digest(cursor.execute(text).fetchall()) for name, text in AS_TEXT.items()}


def digest(rows: list[Any]) -> str:
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()


AS_TEXT = {name: str(select) for name, select in SELECTS.items()}
DIGESTS = sa.text(
    " UNION ALL ".join(
        f"SELECT '{name}', md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM ({text}) AS t"
        for name, text in AS_TEXT.items()
    )
)
"""All tables in one question, computed where the rows are."""


def refused(answer: TestResponse, status: int, code: str, what: object) -> dict[str, Any]:
    assert answer.mimetype == "application/problem+json", (what, answer.status, answer.text)
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (status, code), (what, answer.text)
    return answer.json


@each(EVERY)
def test_the_right_call_is_taken(fresh, facts):
    """Else what follows would prove nothing."""
    answer = fresh.sends(
        facts, fresh.right(facts), body=fresh.body(facts), query=fresh.query(facts)
    )
    assert answer.status_code in (facts.status, *facts.also), answer.text


@each(WITH_BODY)
def test_what_is_no_json_object(world, facts, unchanged):
    right = world.right(facts)
    whole = json.dumps(world.body(facts)).encode()
    inside = whole.rstrip(b"}") + (b"," if len(whole) > 2 else b"")
    for raw, status, code in [
        (b"", 400, "malformed_json"),
        (b"amount=5", 400, "malformed_json"),
        (whole[:-1], 400, "malformed_json"),
        (inside + b'"amount": NaN}', 400, "malformed_json"),
        (inside + b'"amount": -Infinity}', 400, "malformed_json"),
        (inside + b'"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400, "malformed_json"),
        (b"[" * 60_000, 400, "malformed_json"),
        (whole.replace(b"{", b"{\xff", 1), 400, "malformed_json"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'"{}"', 422, "invalid_request"),
        (b"17", 422, "invalid_request"),
        (b"[" + whole + b"]", 422, "invalid_request"),
        (inside + b'"x": 1, "x": 1}', 422, "invalid_request"),
        (inside + b'"x\\u0000": 1}', 422, "invalid_request"),
        (inside + b'"x": "\\ud83d"}', 422, "invalid_request"),
        (b" " * 1_048_576, 413, "body_too_large"),
        (whole + b" " * 65_537, 413, "body_too_large"),
    ]:
        refused(world.sends(facts, right, raw=raw), status, code, raw[:60])
    for media in (None, "text/plain", "application/x-www-form-urlencoded", "text/json"):
        answer = world.sends(facts, right, raw=whole, media=media)
        refused(answer, 415, "unsupported_media_type", media)


@each(WITH_BODY)
def test_an_unknown_field(world, facts, unchanged):
    for name in ("surprise", "Amount", "amount ", "__proto__", "😀"):
        body = world.body(facts) | {name: 1}
        problem = refused(
            world.sends(facts, world.right(facts), body=body), 422, "invalid_request", name
        )
        assert f"/{name}" in [fault["pointer"] for fault in problem["errors"]]


FIELDS = [(facts, name) for facts in WITH_BODY if facts.body for name in facts.body.model_fields]


@pytest.mark.parametrize(
    ("facts", "name"), FIELDS, ids=[f"{named(facts)} {name}" for facts, name in FIELDS]
)
def test_a_field_of_the_wrong_kind(world, facts, name, unchanged):
    schema = facts.body.model_json_schema()
    wrong = list(wrong_values(schema["properties"][name], schema.get("$defs", {})))
    assert len(wrong) >= 5
    for value in wrong:
        body = world.body(facts) | {name: value}
        answer = world.sends(facts, world.right(facts), body=body)
        problem = refused(answer, 422, "invalid_request", (name, str(value)[:40]))
        pointers = [fault["pointer"] for fault in problem["errors"]]
        assert any(p == f"/{name}" or p.startswith(f"/{name}/") for p in pointers), pointers
    raw = json.dumps(world.body(facts) | {name: "@"}).replace('"@"', "1" + "0" * 5000).encode()
    refused(world.sends(facts, world.right(facts), raw=raw), 422, "invalid_request", "5000 digits")


@each(WITH_BODY)
def test_a_missing_field(world, facts, unchanged):
    for name, declared_field in facts.body.model_fields.items():
        if declared_field.is_required():
            body = {key: value for key, value in world.body(facts).items() if key != name}
            problem = refused(
                world.sends(facts, world.right(facts), body=body), 422, "invalid_request", name
            )
            assert [fault["pointer"] for fault in problem["errors"]] == [f"/{name}"]


BY_TYPE: dict[str, Any] = {
    "integer": 7,
    "number": 1.5,
    "string": "\u200b",
    "boolean": True,
    "null": None,
    "array": [],
    "object": {},
}


def wrong_values(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Any]:
    """JSON values that a field of this schema must refuse."""
    parts = [resolved(part, definitions) for part in schema.get("anyOf", [schema])]
    types = {kind for part in parts for kind in [part.get("type", "string")]}
    yield from (value for kind, value in BY_TYPE.items() if kind not in types)
    for part in parts:
        if part.get("type") == "integer":
            yield from (1.0, "5", -1, 10**30, -(10**30), 10**15 + 1)
        elif part.get("format") == "date-time":
            yield from ("2026-03-01T09:00:00", "2026-03-01", "tomorrow", "", "9999-99-99T00:00:00Z")
        elif part.get("enum") or part.get("const"):
            yield from ("no_such_value", "")
        elif part.get("pattern") == "^[A-Z]{3}$":
            yield from ("XXX", "eur", "EURO", "", "E\u0000R", "€€€")
        elif part.get("type") == "string":
            yield from ("", "nul\u0000", "half \ud83d", "x" * 20_000)
        elif part.get("type") == "array":
            yield from (["no_such_value"], [1], [None], [[]], ["x"] * 500)
        elif part.get("type") == "object":
            yield from ({"a": 1.5}, {"a": {}}, {"a": "\u0000"}, {"a": "x" * 17_000}, {"": "x"})


def resolved(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else part


@each(EVERY)
def test_a_wrong_query(world, facts, unchanged):
    known = set(facts.query.model_fields) if facts.query else set()
    cases = [("surprise=1", "/surprise"), ("a=1&a=2", "/a"), ("%00=1", "/?"), ("Limit=5", "/Limit")]
    if "limit" in known:
        cases += [
            (f"limit={bad}", "/limit") for bad in ("0", "101", "-1", "1.0", "x", "", "9" * 99)
        ]
    cases += [(f"{name}=%00", f"/{name}") for name in sorted(known)]
    cases += [(f"{name}=x&{name}=x", f"/{name}") for name in sorted(known)]
    for query, pointer in cases:
        answer = world.sends(facts, world.right(facts), body=world.body(facts), query=query)
        problem = refused(answer, 422, "invalid_request", query)
        assert pointer in [fault["pointer"] for fault in problem["errors"]], query
    if "cursor" in known:
        base = "&".join(filter(None, [world.query(facts), "cursor=forged"]))
        answer = world.sends(facts, world.right(facts), query=base)
        refused(answer, 422, "invalid_cursor", "cursor")


@each(GUARDED)
def test_no_credential_or_a_wrong_one(world, facts, unchanged):
    kinds = calls.KINDS[facts.guard.name]
    cases: list[tuple[dict[str, str], int, str]] = [({}, 401, "unauthenticated")]
    for name in ("ann", "shop", "taxi", "operator"):
        if name not in kinds:
            cases.append((world.headers[name], 403, "forbidden"))
    for name in ("foreign token", "unsigned token", "other algorithm", "other audience",
                 "forged token", "no token", "other scheme", "empty bearer", "odd bearer",
                 "forged key", "wrong secret", "wrong admin"):  # fmt: skip
        cases.append((world.headers[name], 401, "unauthenticated"))
    bearers = bool({"ann", "shop"} & kinds)
    expired, revoked = ("token_expired", "key_revoked") if bearers else ("unauthenticated",) * 2
    cases += [(world.headers["expired token"], 401, expired)]
    cases += [(world.headers["expired key"], 401, expired)]
    cases += [(world.headers["revoked key"], 401, revoked)]
    if "ann" in kinds and facts.method != "GET":
        cases.append((world.headers["ended session"], 401, "key_revoked"))
    if Merchant in facts.guard.kinds and facts.guard.scope:
        cases.append((world.headers["links only"], 403, "scope_missing"))
    for headers, status, code in cases:
        answer = world.sends(facts, headers, body=world.body(facts), query=world.query(facts))
        refused(answer, status, code, headers)
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@each([f for f in GUARDED if f.parameters or CALLS.get((f.method, f.rule), calls.Call()).names])
def test_another_s_object_is_not_found(world, facts, unchanged):
    for headers in world.others(facts):
        answer = world.sends(facts, headers, body=foreign(world, facts, headers),
                             query=world.query(facts))  # fmt: skip
        if "/merchant" in facts.rule or facts.rule == "/v1/api_keys":
            if headers is world.headers["rival"]:
                continue  # a key names no merchant: see the tests of merchants
        refused(answer, 404, "not_found", headers)


def foreign(world: World, facts: Route, headers: dict[str, str]) -> Any:
    return world.body(facts)


@each(WITH_ID)
def test_what_does_not_exist_is_not_found(world, facts, unchanged):
    for name in facts.parameters:
        kind = PREFIXES.get(name)
        wrong = ["x" * 129, "%00", "a%0Ab", "😀"]
        if kind is not None:
            wrong += [ids.new(kind), ids.new("xyz"), f"{kind}_1", ids.new(kind).upper()]
        for text in wrong:
            answer = world.sends(
                facts, world.right(facts), body=world.body(facts), query=world.query(facts),
                path=world.path(facts, **{name: text}),
            )  # fmt: skip
            refused(answer, 404, "not_found", text)


@each([facts for facts in EVERY if facts.method == "GET" and facts.guard.kinds])
def test_lists_and_reads_show_nobody_else_s(world, facts):
    hidden = world.facts["ids_of_ann"]
    for headers in world.others(facts):
        answer = world.sends(facts, headers)
        if facts.rule == "/internal/wallets":
            continue  # any sister service may look up a phone
        assert answer.status_code in (200, 404, 422), answer.text
        assert [one for one in hidden if one in answer.text] == []


@each([facts for facts in EVERY if facts.once is not None])
def test_a_wrong_key(world, facts, unchanged):
    for key in ("", "x" * 256, "tab\there", '"open'):
        headers = world.right(facts) | {"Idempotency-Key": key}
        answer = world.app.test_client().open(
            world.path(facts),
            method=facts.method,
            headers=headers,
            query_string=world.query(facts),
            **({"json": world.body(facts)} if facts.body is not None else {}),
        )
        refused(answer, 400, "idempotency_key_invalid", key)
    if facts.once == "required":
        answer = world.app.test_client().post(
            world.path(facts), json=world.body(facts), headers=world.right(facts)
        )
        refused(answer, 400, "idempotency_key_required", None)


@each([facts for facts in EVERY if facts.writes])
def test_read_only(kept, facts, unchanged):
    world, closed = kept
    body, query = world.body(facts), world.query(facts)
    there = replace(world, app=closed)
    refused(there.sends(facts, world.right(facts), body=body, query=query), 503, "read_only", None)


@each(WITH_BODY)
def test_text_of_any_script_is_never_a_fault_of_ours(world, facts):
    """Taken or refused, as the field has it; never a 500."""
    for name in facts.body.model_fields:
        for text in (
            "😀",
            "漢字",
            "مرحبا",
            "é\u0301",
            "\u202eabc",
            "\ufffe",
            "\U0010ffff",
            "' OR 1=1 --",
        ):
            body = world.body(facts) | {name: text}
            answer = world.sends(facts, world.right(facts), body=body)
            assert answer.status_code < 500, (name, text, answer.text)


def test_every_call_in_the_table_is_of_a_route():
    assert set(CALLS) <= {(facts.method, facts.rule) for facts in EVERY}
