"""Events over HTTP: newest first, or followed forward without missing one that commits late."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from werkzeug.test import TestResponse

from payments import db, ids
from payments.db import Sql
from payments.events import history
from tests.merchants import callers
from tests.merchants.callers import Caller
from tests.webhooks import world

EVENTS = "/v1/events"
_INSERT = Sql(
    "INSERT INTO events (id, type, merchant_id, object_id, body, request_id, created_at)"
    " VALUES (:id, :type, :merchant, 'pay_1', :body, NULL, :at)"
)


@pytest.fixture
def shop(app_context) -> str:
    return world.merchant()


@pytest.fixture
def caller(client, shop) -> Caller:
    return callers.with_key(client, shop, "payments:read")


def past(shop: str, seconds: float, type: str = "payment.created") -> str:
    """An event of so many seconds ago, as a unit that began then and commits now writes it."""
    made = ids.new("evt")
    body = {
        "id": made,
        "object": "event",
        "type": type,
        "api_version": "v1",
        "created_at": "2026-03-01T09:00:00Z",
        "request_id": None,
        "data": {"object": {"id": "pay_1"}},
    }
    with db.unit_of_work() as unit:
        _INSERT.run(
            id=made,
            type=type,
            merchant=shop,
            body=json.dumps(body),
            at=unit.now - timedelta(seconds=seconds),
        )
    return made


def seen(page) -> list[str]:
    return [event["id"] for event in page["data"]]


def test_an_event_is_shown_as_it_was_sent(caller, shop):
    (made,) = world.happen(shop)
    whole = json.loads(world.events()[0].body)
    assert caller.get(f"{EVENTS}/{made}").json == whole
    assert caller.get(EVENTS).json["data"] == [whole]


def test_newest_first_says_what_may_still_change(caller, shop):
    old = [past(shop, seconds) for seconds in (60, 50, 40)]
    page = caller.get(EVENTS, limit=2).json
    assert seen(page) == [old[2], old[1]]
    assert page["provisional"] is True  # an event of just now may still come in front
    rest = caller.get(EVENTS, limit=2, cursor=page["next_cursor"]).json
    assert (seen(rest), rest["provisional"], rest["next_cursor"]) == ([old[0]], False, None)


def test_a_page_that_begins_in_the_last_15_s_is_provisional(caller, shop):
    past(shop, 60), past(shop, 5), past(shop, 2)
    page = caller.get(EVENTS, limit=1).json
    page = caller.get(EVENTS, limit=1, cursor=page["next_cursor"]).json
    assert page["provisional"] is True
    page = caller.get(EVENTS, limit=1, cursor=page["next_cursor"]).json
    assert page["provisional"] is True  # it reaches from 5 s ago back
    assert len(page["data"]) == 1


def test_filter_by_type(caller, shop):
    past(shop, 40), past(shop, 30, "payment.succeeded"), past(shop, 20)
    for order in ("asc", "desc"):
        page = caller.get(EVENTS, type="payment.succeeded", order=order).json
        assert [event["type"] for event in page["data"]] == ["payment.succeeded"]
    assert caller.get(EVENTS, type="payment.exploded").status_code == 422


def test_a_follower_walks_forward_and_always_has_a_place_to_go_on_from(caller, shop):
    empty = caller.get(EVENTS, order="asc").json
    assert (empty["data"], empty["provisional"]) == ([], False)
    made = [past(shop, seconds) for seconds in (60, 50, 40, 30)]
    first = caller.get(EVENTS, order="asc", limit=3, cursor=empty["next_cursor"]).json
    assert (seen(first), first["provisional"]) == (made[:3], False)
    second = caller.get(EVENTS, order="asc", limit=3, cursor=first["next_cursor"]).json
    assert seen(second) == made[3:]
    third = caller.get(EVENTS, order="asc", limit=3, cursor=second["next_cursor"]).json
    assert (third["data"], third["next_cursor"]) == ([], second["next_cursor"])


def test_a_follower_misses_nothing_that_commits_late(caller, shop, monkeypatch):
    """Units end within 10 s, in any order; the follower polls all the while."""
    shown: set[str] = set()
    cursor = caller.get(EVENTS, order="asc").json["next_cursor"]

    def poll() -> bool:
        nonlocal cursor
        page = caller.get(EVENTS, order="asc", limit=100, cursor=cursor).json
        cursor = page["next_cursor"]
        shown.update(seen(page))
        return page["provisional"]

    early = past(shop, 1)
    assert poll() is True  # shown at once, and the place stays before it
    late = past(shop, 9)  # begun earlier, committed later
    assert poll() is True
    monkeypatch.setattr(history, "SETTLED_AFTER", timedelta(0))  # 15 s have passed
    assert poll() is False
    assert shown == {early, late}
    assert poll() is False and cursor is not None
    assert seen(caller.get(EVENTS, order="asc", cursor=cursor).json) == []


@contextmanager
def transaction(database: str, name: str = "payments test") -> Iterator[psycopg.Connection]:
    """Another process's, open until the block ends; then it commits."""
    url = make_url(database)
    with psycopg.connect(
        host=str(url.query["host"]), user=url.username, dbname=url.database, application_name=name
    ) as other:
        other.execute("SELECT 1")
        yield other


def record_late(other: psycopg.Connection, shop: str) -> str:
    """An event in that transaction, dated as a unit dates it."""
    made = ids.new("evt")
    body = world.events()[0].body
    other.execute(
        "INSERT INTO events (id, type, merchant_id, object_id, body, created_at)"
        " VALUES (%s, 'payment.created', %s, 'pay_1', %s, now())",
        [made, shop, json.dumps(json.loads(body) | {"id": made})],
    )
    return made


only_postgres = pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
"""SQLite has one writer: nothing commits while another is open."""


@only_postgres
@pytest.mark.parametrize("has_written", [True, False])
def test_a_follower_waits_for_a_unit_that_is_slower_than_15_s(
    caller, shop, database, monkeypatch, has_written
):
    """One that has written is waited for for ever, one that has not as long as it still may."""
    monkeypatch.setattr(history, "SETTLED_AFTER", timedelta(seconds=0.1))
    (first,) = world.happen(shop)
    time.sleep(0.2)
    page = caller.get(EVENTS, order="asc").json
    assert (seen(page), page["provisional"]) == ([first], False)
    cursor = page["next_cursor"]
    with transaction(database) as other:
        if has_written:
            late = record_late(other, shop)
            monkeypatch.setattr(history, "WRITES_WITHIN", timedelta(seconds=0))
        (early,) = world.happen(shop)
        time.sleep(0.2)  # longer than what counts as 15 s here
        page = caller.get(EVENTS, order="asc", cursor=cursor).json
        assert (seen(page), page["provisional"]) == ([early], True)
        assert page["next_cursor"] == cursor
        newest = caller.get(EVENTS, limit=1).json["next_cursor"]
        assert caller.get(EVENTS, cursor=newest, limit=1).json["provisional"] is True
        if not has_written:
            late = record_late(other, shop)
    page = caller.get(EVENTS, order="asc", cursor=cursor).json
    assert (seen(page), page["provisional"]) == ([late, early], False)
    newest = caller.get(EVENTS, limit=1).json["next_cursor"]
    assert caller.get(EVENTS, cursor=newest, limit=1).json["provisional"] is False


@only_postgres
@pytest.mark.parametrize("name", ["payments snapshot", "pg_dump", "psql"])
def test_a_follower_does_not_wait_for_who_only_reads(caller, shop, database, monkeypatch, name):
    monkeypatch.setattr(history, "SETTLED_AFTER", timedelta(seconds=0.1))
    if name == "psql":
        monkeypatch.setattr(history, "WRITES_WITHIN", timedelta(seconds=0.1))
    with transaction(database, name):
        world.happen(shop)
        time.sleep(0.2)
        assert caller.get(EVENTS, order="asc").json["provisional"] is False


def test_anothers_events_do_not_exist(client, caller, shop):
    (made,) = world.happen(shop)
    rival = callers.with_key(client, world.merchant(), "payments:read")
    assert rival.get(f"{EVENTS}/{made}").status_code == 404
    for order in ("asc", "desc"):
        assert found(rival.get(EVENTS, order=order))["data"] == []
    mine = found(caller.get(EVENTS, order="asc"))["next_cursor"]
    foreign = rival.get(EVENTS, order="asc", cursor=mine)
    assert callers.refused(foreign) == (422, "invalid_cursor")


def found(answer: TestResponse) -> dict[str, Any]:
    """The body of an answer that is well."""
    assert answer.status_code == 200 and answer.json is not None
    whole: dict[str, Any] = answer.json
    return whole
