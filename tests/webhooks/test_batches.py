"""Many results are written at once: in one order, each for itself, and however long the backlog."""

import json
import threading

import psycopg
import pytest
from sqlalchemy import make_url

from payments import clock, db, totals
from payments.db import Sql
from payments.webhooks import attempts, claims, results
from payments.webhooks.results import Result
from payments.webhooks.sender import Answer
from tests.children import wait_until
from tests.webhooks import world

pytestmark = pytest.mark.usefixtures("fast_app")

WELL = Answer("success", clock.now(), 1, http_status=200)
QUIET, BACKLOG = 20_000, 5_000


def claim() -> claims.Claim:
    with db.unit_of_work():
        (made,), _place = claims.take(10)
    return made


@pytest.mark.parametrize("status", [410, 500])
def test_of_two_answers_for_one_delivery_the_one_under_its_lease_counts(status):
    """A worker that was frozen beyond its lease claims the delivery again, and hears both."""
    shop = world.merchant()
    endpoint = world.endpoint(shop, proven=True)
    world.happen(shop)
    late = claim()
    world.change("deliveries", world.delivery().id, lease_until=world.shift(-0.001))
    again = claim()
    stale = Answer(f"http_{status // 100}xx", clock.now(), 1, http_status=status)
    with db.unit_of_work():
        results.record([Result(again, WELL), Result(late, stale)])
    (known,) = [row for row in world.endpoints() if row.id == endpoint]
    assert (known.status, known.failures) == ("enabled", 0)
    assert world.delivery().status == "delivered"
    assert totals.read()["payments_webhook_deliveries_total"] == {
        ("delivered",): 1, ("failed",): 0, ("canceled",): 0
    }  # fmt: skip


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
def test_who_gives_up_a_lease_and_who_writes_its_result_do_not_block_each_other(database, fast_app):
    shop = world.merchant()
    world.endpoint(shop, proven=True)
    world.happen(shop, 2)
    with db.unit_of_work():
        made, _place = claims.take(10)
    first, second = sorted(made, key=lambda one: one.parcel.delivery_id)
    faults: list[BaseException] = []

    def write() -> None:
        try:
            with fast_app.app_context(), db.unit_of_work():
                results.record([Result(first, WELL), Result(second, WELL)])
        except BaseException as fault:
            faults.append(fault)

    url = make_url(database)
    with psycopg.connect(
        host=str(url.query["host"]), user="postgres", dbname=url.database
    ) as other:
        id = first.parcel.delivery_id
        other.execute("SELECT FROM deliveries WHERE id = %s FOR NO KEY UPDATE", [id])
        writer = threading.Thread(target=write)
        writer.start()
        with psycopg.connect(other.info.dsn, autocommit=True) as looking:
            blocked = (
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            wait_until(lambda: looking.execute(blocked).fetchall(), "the writer to wait")
        other.execute(
            attempts.insert("VALUES (%s, %s, 1, 'lost', NULL, 0, NULL, 'lost', now())"),
            [attempts.id_of(first.token, id), id],
        )
        other.commit()
        writer.join()
    assert faults == []
    assert [row.status for row in world.deliveries()] == ["delivered"] * 2
    assert [row.outcome for row in world.attempts()] == ["success"] * 2


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
def test_a_backlog_after_a_quiet_hour_is_not_read_for_each_row(database):
    """The planner believes that nothing is pending; a shop's outage has just ended."""
    shop = world.merchant()
    world.endpoint(shop, proven=True)
    world.happen(shop, 8)
    with db.unit_of_work():
        made, _place = claims.take(8)
    copy = (
        "INSERT INTO deliveries (id, event_id, endpoint_id, merchant_id, status, attempts, tries,"
        " next_attempt_at, version, created_at, ended_at) SELECT 'dlv_' || {kind} || n, event_id,"
        " endpoint_id, merchant_id, {status}, 1, 0, {due}, 1, created_at, {ended}"
        " FROM (SELECT * FROM deliveries LIMIT 1) AS d, generate_series(1, {count}) AS n"
    )
    quiet = copy.format(kind="'q'", status="'delivered'", due="NULL", ended="now()", count=QUIET)
    late = copy.format(
        kind="'p'", status="'pending'", due="now() + interval '1 h'", ended="NULL", count=BACKLOG
    )
    url = make_url(database)
    with psycopg.connect(
        host=str(url.query["host"]), user="postgres", dbname=url.database, autocommit=True
    ) as owner:
        owner.execute("ALTER TABLE deliveries DROP CONSTRAINT uq_deliveries_event_id_endpoint_id")
        owner.execute("UPDATE deliveries SET status = 'delivered', lease_until = NULL")
        owner.execute(quiet)
        owner.execute("ANALYZE deliveries")
        owner.execute("UPDATE deliveries SET status = 'pending' WHERE lease_token IS NOT NULL")
        owner.execute(late)
    rows = [results._attempt(Result(one, WELL)) for one in made]
    rows = [row | {"token": made[0].token, "status": "delivered"} for row in rows]
    explain = Sql(f"EXPLAIN (ANALYZE, COSTS off, TIMING off) {results._WRITE.text}")
    with db.unit_of_work():
        how = "\n".join(row[0] for row in explain.all(rows=json.dumps(rows, default=str)))
    read = [line for line in how.splitlines() if "deliveries" in line and "Scan" in line]
    assert read and "ix_deliveries_due" not in how, how
