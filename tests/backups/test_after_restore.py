"""What a restored database must not do again, and what it does not know any more."""

import json
import logging
from datetime import timedelta
from functools import partial

import pytest

from payments import clock, db, settings, totals
from payments.api.console import sessions as console_sessions
from payments.checkout import payments
from payments.checkout.objects import payment_object
from payments.config import NamedSecret
from payments.customers import sessions
from payments.db import Sql
from payments.errors import InvalidState
from payments.merchants import api_keys, applications
from payments.operations import brought_back, read_only, restoring
from payments.transfers import deposits
from payments.webhooks import endpoints
from scripts import after_restore
from tests import databases
from tests.backups import stock
from tests.checkout import world
from tests.observability.stack import prometheus
from tests.redis_server import free_port

_HIGHEST = Sql("SELECT max(version) FROM payments")
_LOWEST = Sql("SELECT min(version) FROM payments")
_OPEN_CODE = Sql(
    "INSERT INTO otp_challenges (id, phone, address, code_hash, status, tries, created_at,"
    " expires_at) VALUES ('otp_1', '+49', '::1', 'x', 'open', 0, :now, :now)"
)
_CONSOLE = Sql("SELECT ended_at FROM console_sessions")
_CODES = Sql("SELECT status FROM otp_challenges")


@pytest.fixture
def here(database, tmp_path):
    """The service's context on a database of each kind, stocked."""
    with stock.service(database, tmp_path):
        yield stock.fill()


def by_hand(minutes_ago: int = 5) -> restoring.Restored:
    until = clock.now() - timedelta(minutes=minutes_ago)
    return restoring.Restored(f"by hand@{until}", "by hand", until, clock.now(), None)


def stop_writes() -> None:
    db.in_unit(lambda: read_only.switch(True, "restored"), in_read_only=True)


def allow_writes() -> None:
    db.in_unit(lambda: read_only.switch(False, "done"), in_read_only=True)


def prepare(restored=None):
    stop_writes()
    found, done = restoring.prepare(restored)
    allow_writes()
    return found, done


def test_every_session_and_every_open_code_ends(here):
    db.in_unit(lambda: _OPEN_CODE.run())
    assert sessions.still_stands(here.session)
    db.in_unit(lambda: console_sessions.begin(NamedSecret("ann", "x" * 40)), in_read_only=True)
    _, done = prepare(by_hand())
    assert done is not None and (done.sessions_ended, done.codes_ended) == (1, 1)
    assert not sessions.still_stands(here.session)
    assert sessions.own(here.customer, here.session).status == "ended"
    assert [row.status for row in _CODES.all()] == ["replaced"]
    assert [row.ended_at is not None for row in _CONSOLE.all()] == [True]


def test_no_version_after_a_restore_is_smaller_than_one_shown_before(here):
    """What was shown between the backup and its restore is forgotten; its versions are passed."""
    asked = world.asks(here.merchant, 5_00, capture="manual")
    db.in_unit(lambda: payments.confirm(asked.id, here.customer))
    seen = (
        payment_object(world.raw(asked.id))["version"] + 500
    )  # changes that the backup does not know
    _, done = prepare(by_hand())
    assert done is not None
    assert payment_object(world.raw(asked.id))["version"] == done.epoch << 20 > seen
    changed = db.in_unit(lambda: payments.capture(asked.id, here.merchant, None))
    assert changed.version > done.epoch << 20
    fresh = world.asks(here.merchant, 1_00)
    assert fresh.version == 1  # nobody has seen another version of it


def test_the_second_restore_of_one_backup_goes_higher_than_the_first(here, monkeypatch):
    """Though the backup itself knows nothing of the first."""
    _, first = prepare(by_hand())
    later = clock.now() + timedelta(seconds=90)
    monkeypatch.setattr(clock, "now", lambda: later)
    _, second = prepare(by_hand(minutes_ago=4))
    assert first is not None and second is not None
    # A million changes a second in between would be needed to reach it.
    assert (second.epoch - first.epoch) << 20 >= 90 << 20
    assert _LOWEST.scalar() == _HIGHEST.scalar() == second.epoch << 20 < 1 << 53


def test_one_restore_is_prepared_once(here):
    restored = by_hand()
    found, done = prepare(restored)
    assert done is not None and set(done.raised) == set(restoring.versioned_tables())
    db.in_unit(lambda: sessions.start(here.customer, "after"))
    again, nothing = prepare(restored)
    assert nothing is None and again.epoch == done.epoch
    assert prepare()[1] is None
    assert _HIGHEST.scalar() == done.epoch << 20
    (newest,) = db.in_unit(lambda: sessions.of_customer(here.customer, 1, None))
    assert newest.status == "active"


def test_nothing_is_raised_where_no_restore_is_known_or_writes_go_on(here):
    stop_writes()
    with pytest.raises(InvalidState, match="was not restored"):
        restoring.prepare()
    allow_writes()
    with pytest.raises(InvalidState, match="Writes are not stopped"):
        restoring.prepare(by_hand())
    assert restoring.restored() is None  # what was noted went with the refusal
    assert _HIGHEST.scalar() < 100


def test_a_clock_that_runs_behind_raises_nothing(here, monkeypatch):
    prepare(by_hand())
    high = _HIGHEST.scalar()
    earlier = clock.now() - timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: earlier)
    stop_writes()
    with pytest.raises(InvalidState, match="Is a clock wrong"):
        restoring.prepare(by_hand(minutes_ago=3))
    assert _HIGHEST.scalar() == high
    still = restoring.restored()
    assert still is not None and still.epoch is not None  # the first one's


def test_every_version_can_be_raised():
    tables = db.Base.metadata.tables
    narrow = [
        name
        for name in restoring.versioned_tables()
        if not isinstance(tables[name].c.version.type, db.db.BigInteger)
    ]
    assert narrow == []  # `version: Mapped[Version]`
    assert {"payments", "accounts", "webhook_endpoints", "sessions"} <= set(
        restoring.versioned_tables()
    )


# What is lost, by the log that is kept outside.


@pytest.fixture
def kept_outside(caplog):
    """`kept_outside(...)`: the audit's log lines so far, as the service writes them."""
    caplog.set_level(logging.INFO, "payments.audit")

    def lines(*more: dict) -> list[str]:
        audits = [
            {"time": clock.to_rfc3339(clock.now()), "logger": r.name, "message": r.message}
            | {k: v for k, v in vars(r).items() if k in AUDITED}
            for r in caplog.records
            if r.name == "payments.audit"
        ]
        return [json.dumps(each) for each in (*audits, *more)]

    return lines


AUDITED = ("audit_id", "actor", "action", "subject_id", "outcome", "request_id")


def answered(route: str, request_id: str, status: int = 201, method: str = "POST") -> dict:
    """A request's line."""
    return {
        "time": clock.to_rfc3339(clock.now()), "logger": "payments.api.requests",
        "message": "request", "method": method, "route": route, "status": status,
        "caller": "service:taxi", "request_id": request_id,
    }  # fmt: skip


def look(lines, minutes_ago=5):
    with db.snapshot():
        return brought_back.report(clock.now() - timedelta(minutes=minutes_ago), lines)


def test_what_was_audited_and_is_still_there_is_not_lost(here, kept_outside):
    db.in_unit(lambda: api_keys.revoke(here.merchant, here.key))
    report = look(kept_outside())
    assert report.lost == []
    assert report.standing["keys"] == []


def test_a_revoked_key_that_works_again_is_listed(here, kept_outside):
    with pytest.raises(RuntimeError, match="as if the backup were older"), db.unit_of_work():
        api_keys.revoke(here.merchant, here.key)
        raise RuntimeError("as if the backup were older")
    report = look(kept_outside())
    (lost,) = report.lost
    assert (lost.kind, lost.what, lost.subject_id) == ("keys", "api_key.revoke", here.key)
    assert [row["id"] for row in report.standing["keys"]] == [here.key]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (answered("/internal/deposits", "rid_1"), "deposits"),
        (answered("/v1/webhook_endpoints/<endpoint_id>", "rid_1", 200, "PATCH"), "endpoints"),
        (answered("/v1/payments/<payment_id>/confirm", "rid_1", 200), "payments"),
        (answered("/v1/me", "rid_1", 200, "PATCH"), "others"),
        (answered("/internal/deposits", "rid_1", 503), None),
        (answered("/v1/payments", "rid_1", 200, "GET"), None),
        (answered("/v1/auth/token", "rid_1", 200), None),
        (answered("/admin/config/fees", "rid_1", 200), None),
    ],
)
def test_an_answered_write_that_left_no_trace_is_lost(here, line, kind):
    just_now = line | {"time": clock.to_rfc3339(clock.now())}
    report = look([json.dumps(just_now), "", "no line of ours"])
    assert [each.kind for each in report.lost] == ([kind] if kind else [])
    assert report.unread == 1


def test_an_answered_write_that_is_there_is_not_lost(app, client, database):
    with app.app_context():
        secret = databases.SECRETS["INTERNAL_API_SECRET"].partition(":")[2]
        answer = client.post(
            "/internal/deposits",
            json={"phone": stock.PHONE, "amount": 1, "currency": "EUR", "external_reference": "1"},
            headers={"X-Internal-Secret": secret, "Idempotency-Key": "k"},
        )
        assert answer.status_code == 201
        told = answered("/internal/deposits", answer.headers["X-Request-ID"])
        assert look([json.dumps(told)]).lost == []
        old = told | {"request_id": "rid_x", "time": "2020-01-01T00:00:00Z"}
        assert look([json.dumps(old)]).lost == []  # from long before the backup


@pytest.mark.parametrize(
    ("action", "kind"), [("payout.approve", "payouts"), ("refund.create", "payments")]
)
def test_a_request_and_its_audit_line_are_one_thing(here, kept_outside, action, kind):
    audited = {
        "time": clock.to_rfc3339(clock.now()), "logger": "payments.audit", "message": "audit",
        "audit_id": "aud_x", "actor": "mer_1", "action": action, "subject_id": "out_1",
        "outcome": "done", "request_id": "rid_7",
    }  # fmt: skip
    refused = audited | {"audit_id": "aud_y", "outcome": "forbidden", "request_id": "rid_8"}
    report = look(kept_outside(audited, answered("/v1/payouts", "rid_7"), refused))
    assert [(each.kind, each.what) for each in report.lost] == [(kind, action)]


def test_what_stands_in_the_database_is_listed(here):
    db.in_unit(lambda: endpoints.create(here.merchant, "https://shop.example/hook", ["*"], None))
    db.in_unit(lambda: deposits.create("taxi", stock.PHONE, 1, "EUR", "t-1"))
    db.in_unit(lambda: deposits.create("taxi", stock.PHONE, 1, "EUR", "t-2"))
    report = look(None)
    assert report.lost is None
    assert [row["url"] for row in report.standing["endpoints"]] == ["https://shop.example/hook"]
    last = {row["service"]: row["external_reference"] for row in report.standing["deposits"]}
    assert last["taxi"] == "t-2"
    assert report.standing["freezes"] == report.standing["payouts"] == []


# The script.


@pytest.fixture
def ran(database, tmp_path):
    """`ran("--log", path)`: the script on this test's database."""
    environ = databases.environ_for(database, tmp_path)

    def script(*arguments: object) -> stock.Ran:
        return stock.run(after_restore.main, *arguments, **environ)

    return script


def test_the_script_names_the_window_and_what_to_look_through(here, ran, tmp_path):
    stop_writes()
    until = clock.to_rfc3339(clock.now() - timedelta(minutes=5))
    first = ran("--restored-to", until, "--json")
    assert (first.code, first.json["window"]["from"]) == (1, until)  # no log was given
    assert first.json["prepared"]["sessions_ended"] == 1
    log = tmp_path / "outside.log"
    early = answered("/v1/payments", "rid_0", 200, "GET") | {"time": "2020-01-01T00:00:00Z"}
    log.write_text(json.dumps(early) + "\n")
    nothing = ran("--log", log)
    assert nothing.code == 0
    assert "Sessions were ended and versions raised by an earlier run." in nothing.out
    with log.open("a") as more:
        more.write(json.dumps(answered("/internal/deposits", "rid_9")) + "\n")
    found = ran("--restored-to", until, "--log", log)
    assert found.code == 1
    assert "LOST deposits: 1. Ask the service to send them again" in found.out
    assert "service:taxi" in found.out and "does not reach back" not in found.out
    allow_writes()
    assert db.Sql("SELECT count(*) FROM audit_log WHERE action = 'restore.prepare'").scalar() == 3


def test_a_log_that_begins_too_late_is_said_so(here, ran, tmp_path):
    stop_writes()
    log = tmp_path / "outside.log"
    log.write_text(json.dumps(answered("/internal/deposits", "rid_9")) + "\n")
    until = clock.to_rfc3339(clock.now() - timedelta(minutes=5))
    assert "The log does not reach back to" in ran("--restored-to", until, "--log", log).out


COUNTED = "payments_payments_total"


def test_no_total_falls_where_prometheus_has_seen_more(here, ran, tmp_path):
    """What was counted after the backup stands there and nowhere else."""
    world.asks(here.merchant, 5_00)
    stood = totals.read()[COUNTED][("pending",)]
    at = (clock.now() - timedelta(minutes=4)).timestamp()
    seen = {"pending": stood + 7, "expired": 3, "succeeded": 0}
    lines = [
        f'{COUNTED}{{job="{job}",instance="a",status="{status}"}} {value + more} {at:.0f}'
        for job, more in (("payments", 0), ("another", 900))
        for status, value in seen.items()
    ]
    stop_writes()
    until = clock.to_rfc3339(clock.now() - timedelta(minutes=5))
    history = "\n".join([*lines, "# EOF", ""])
    with prometheus(tmp_path, free_port(), history=history) as watches:
        script = partial(ran, "--restored-to", until, "--prometheus", watches.url)
        assert "2 totals were raised to what http://127.0.0.1" in script().out
        assert "0 totals were raised" in script("--json").json["totals"]
    assert totals.read()[COUNTED][("pending",)] == stood + 7
    assert totals.read()[COUNTED][("expired",)] == 3
    gone = script("--log", tmp_path / "prometheus" / "log")
    assert gone.code == 1 and "may have fallen: http://127.0.0.1" in gone.out
    assert "No Prometheus was named" in ran("--restored-to", until).out


def test_the_script_refuses_a_database_that_serves(here, ran):
    told = ran()
    assert (told.code, "was not restored" in told.err) == (3, True)
    allowed = ran("--restored-to", "2026-01-01T00:00:00Z")
    assert (allowed.code, "Writes are not stopped" in allowed.err) == (3, True)
    with pytest.raises(SystemExit) as usage:
        ran("--restored-to", "yesterday")
    assert usage.value.code == 2
    assert settings.read_row(restoring.RESTORE) is None
    assert applications.account_of(here.merchant, "EUR")
