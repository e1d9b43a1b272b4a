"""The runbook's requeue, as typed there, against a receiver that is back."""

import signal
from datetime import timedelta

import pytest

from payments import db
from payments.clock import to_rfc3339
from payments.db import Sql
from payments.operations import read_only
from payments.webhooks import drain as drains
from scripts import webhooks_requeue
from tests.receivers import Receiver
from tests.scripts import running
from tests.webhooks import world

pytestmark = pytest.mark.slow

AUDIT = Sql("SELECT actor FROM audit_log WHERE action = 'deliveries.requeue'")
FAIL = Sql(
    "UPDATE deliveries SET status = 'failed', attempts = 11, tries = 11, next_attempt_at = NULL,"
    " last_outcome = 'http_5xx', ended_at = :now"
)


def failed(count: int, url: str = "http://127.0.0.1:9/hook") -> str:
    """An endpoint, and so many deliveries to it that have failed."""
    merchant = world.merchant()
    hook = world.endpoint(merchant, url)
    world.happen(merchant, count)
    db.in_unit(lambda: FAIL.run())
    return hook


def requeue(database, tmp_path, *options, **more):
    return running.script(database, tmp_path, "webhooks_requeue.py", *options, **more)


def statuses() -> list[str]:
    return [row.status for row in world.deliveries()]


def test_what_failed_is_sent_again_under_its_old_id(database, tmp_path, fast_app):
    with Receiver() as receiver:
        failed(2, receiver.url())
        ids = {row.id for row in world.deliveries()}
        said = running.told(requeue(database, tmp_path))
        assert "2 failed deliveries match." in said
        assert "2 deliveries are due again" in said
        assert statuses() == ["pending", "pending"]
        drains.run(3.0)
        assert statuses() == ["delivered", "delivered"]
        got = receiver.received()
    assert {request.headers["x-delivery-id"] for request in got} == ids
    assert {request.headers["x-attempt"] for request in got} == {"12"}
    again = requeue(database, tmp_path)
    assert "0 failed deliveries match." in running.told(again)
    assert [row.actor for row in AUDIT.all()] == ["script:webhooks_requeue"]


def test_a_dry_run_shows_and_changes_nothing(database, tmp_path, app_context):
    hook = failed(3)
    before = world.deliveries()
    said = running.told(requeue(database, tmp_path, "--dry-run"), 1)
    assert f"3  {hook} enabled  under an hour  last answer: http_5xx" in said
    assert world.deliveries() == before
    assert AUDIT.all() == []


def test_filters_limit_and_rate(database, tmp_path, app_context):
    hook, other = failed(3), failed(2)
    options = ("--endpoint", hook, "--limit", "2", "--rate", "1", "--json")
    shown = running.as_json(requeue(database, tmp_path, *options))
    assert (shown["matched"], shown["requeued"], shown["unsendable"]) == (3, 2, 0)
    due = sorted(row.next_attempt_at for row in world.deliveries() if row.status == "pending")
    assert due[1] - due[0] == timedelta(seconds=1)
    assert [shown["first_at"], shown["last_at"]] == [to_rfc3339(each) for each in due]
    later = to_rfc3339(db.now() + timedelta(hours=1))
    for none in (("--since", later), ("--event-type", "ping"), ("--status", "canceled")):
        shown = running.as_json(requeue(database, tmp_path, *none, "--dry-run", "--json"))
        assert shown["matched"] == 0, none
    shown = running.as_json(requeue(database, tmp_path, "--until", later, "--json"))
    assert shown["requeued"] == 3
    assert set(statuses()) == {"pending"}
    assert {group["endpoint"] for group in shown["groups"]} == {hook, other}


def test_what_can_not_be_sent_stays_and_is_told(database, tmp_path, app_context):
    hook = failed(2)
    world.change("webhook_endpoints", hook, status="disabled")
    said = running.told(requeue(database, tmp_path), 1)
    assert "2 of them stay: their endpoint is not enabled." in said
    assert statuses() == ["failed", "failed"]


def test_nothing_is_requeued_while_writes_are_stopped(database, tmp_path, app_context):
    failed(1)
    db.in_unit(lambda: read_only.switch(True, "restoring"), in_read_only=True)
    done = requeue(database, tmp_path)
    assert done.returncode == 3
    assert "webhooks_requeue: The service takes no writes just now." in done.stderr
    assert statuses() == ["failed"]


@pytest.mark.parametrize(("answer", "code"), [("n\r", 1), ("y\r", 0)])
def test_on_a_terminal_it_asks_first(database, tmp_path, app_context, answer, code):
    failed(1)
    ended, shown = running.on_terminal(database, tmp_path, answer, "webhooks_requeue.py")
    assert ended == code, shown
    assert "Requeue 1 deliveries? [y/N]" in shown
    assert statuses() == ["pending" if code == 0 else "failed"]


def test_stopped_half_way_it_goes_on_with_the_rest(postgres, tmp_path, postgres_app):
    """A batch is all or nothing; here the second one waits for a row that is locked."""
    failed(1_200)
    oldest = "SELECT id FROM deliveries ORDER BY created_at, id"
    with running.connected(postgres) as owner, running.connected(postgres) as other:
        ids = [row[0] for row in owner.execute(oldest).fetchall()]
        owner.execute("BEGIN")
        owner.execute("SELECT FROM deliveries WHERE id = %s FOR UPDATE", [ids[700]])
        code, said = running.interrupted(
            postgres,
            tmp_path,
            "webhooks_requeue.py",
            when=lambda: running.waiting(other),
        )
        owner.execute("ROLLBACK")
    assert (code, said.splitlines()[-2:]) == (
        130,
        ["requeued 500 deliveries", "webhooks_requeue: stopped"],
    )
    assert code == 128 + signal.SIGINT
    pending = {row.id for row in world.deliveries() if row.status == "pending"}
    assert pending == set(ids[:500])
    shown = running.as_json(requeue(postgres, tmp_path, "--json"))
    assert shown["requeued"] == 700
    assert set(statuses()) == {"pending"}
    assert len({row.version for row in world.deliveries()}) == 1  # each of them once


@pytest.mark.parametrize(
    "options",
    [
        ("--since", "2025-09-01T00:00:00"),
        ("--endpoint", "we"),
        ("--rate", "0"),
        ("--limit", "-1"),
        ("--status", "pending"),
        ("--event-type", "payment"),
    ],
)
def test_what_is_no_choice_is_a_usage_error(options, capsys):
    with pytest.raises(SystemExit) as end:
        webhooks_requeue.main(list(options))
    assert (end.value.code, capsys.readouterr().out) == (2, "")
