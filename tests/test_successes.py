"""When a job last succeeded: what metrics will say of reconcile and backups."""

import json
from typing import Any

from payments import db, successes


def last(name: str = "backup") -> Any:
    """The row, which must be there."""
    row = successes.last(name)
    assert row is not None
    return row


def test_a_job_that_never_ran_has_no_row(app_context):
    assert successes.last("backup") is None


def test_the_last_success_is_dated_by_the_database(app_context):
    with db.unit_of_work() as unit:
        at = unit.now
        successes.record("backup", findings=3, detail={"bytes": 7})
    row = last()
    assert (row.succeeded_at, row.finished_at, row.findings) == (at, at, 3)
    assert json.loads(row.detail_json) == {"bytes": 7}
    assert successes.last("reconcile") is None


def test_a_later_success_replaces_it(app_context):
    db.in_unit(lambda: successes.record("backup", findings=3))
    first = last()
    db.in_unit(lambda: successes.record("backup", findings=0))
    row = last()
    assert row.succeeded_at > first.succeeded_at
    assert (row.findings, row.detail_json) == (0, "{}")


def test_a_failure_keeps_the_last_success_and_what_it_found(app_context):
    db.in_unit(lambda: successes.record("backup", succeeded=False, detail={"error": "no space"}))
    assert last().succeeded_at is None
    db.in_unit(lambda: successes.record("backup", findings=2))
    well = last()
    db.in_unit(lambda: successes.record("backup", succeeded=False, detail={"error": "no space"}))
    row = last()
    assert (row.succeeded_at, row.findings) == (well.succeeded_at, 2)
    assert row.finished_at > well.finished_at
    assert json.loads(row.detail_json) == {"error": "no space"}
