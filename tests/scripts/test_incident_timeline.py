"""The timeline of an incident: in order, whole or saying what is missing, without phones."""

import json
import shlex
from collections.abc import Iterator
from datetime import timedelta

import pytest

from payments import audit, clock, db
from payments.webhooks import drain as drains
from scripts import incident_timeline
from scripts._run import Refused
from scripts.incidents import happenings, telling
from tests.checkout import world
from tests.children import ROOT, wait_until
from tests.receivers import Receiver, answer
from tests.scripts import running
from tests.webhooks import world as hooks

PHONE = "+4915112345678"
NOWHERE = ("--prometheus", "http://127.0.0.1:1")
HOUR = timedelta(hours=1)


def window(minutes: float = 10) -> tuple[str, ...]:
    """From so long ago to a minute from now."""
    now = clock.now()
    start, end = now - timedelta(minutes=minutes), now + timedelta(minutes=1)
    return ("--from", clock.to_rfc3339(start), "--to", clock.to_rfc3339(end))


def acted(action: str, subject: str | None = None, actor: str = "operator:ann", **facts) -> str:
    """An act in the trail; its id."""
    db.in_unit(lambda: audit.record(actor, action, subject, **facts))
    return audit.page({"action": action}, 1, None)[0].id


@pytest.fixture
def told(app_context, capsys):
    """`told("--late", "60")`: what the script prints, run in this process."""

    def run(*options: str, code: int = 0, minutes: float = 10) -> str:
        args = incident_timeline._arguments([*window(minutes), *options])
        capsys.readouterr()
        assert incident_timeline.tell(args) == code
        return capsys.readouterr().out

    return run


@pytest.fixture
def timeline(told):
    """The same as JSON."""
    return lambda *options, **more: json.loads(told("--json", *options, **more))


@pytest.fixture
def app(fast_app):
    """With a fast schedule of retries."""
    return fast_app


@pytest.fixture
def trouble(app_context) -> Iterator[dict[str, str]]:
    """A payment that ran out, one that was paid late, and two endpoints of which one fails."""
    payer, shop = world.customer(PHONE, has=100_00), world.merchant()
    with Receiver() as receiver:
        hooks.endpoint(shop, receiver.url("/fine"))
        hooks.endpoint(shop, receiver.url("/broken"))
        receiver.script("/broken", answer(500))
        late, expired = world.asks(shop).id, world.asks(shop, customer_phone=PHONE).id
        hooks.change("payments", late, created_at=clock.now() - timedelta(minutes=8))
        world.confirms(payer, late)
        world.overdue(expired, by_s=60)
        drains.run(1)
        wait_until(lambda: len(hooks.attempts()) >= 6, "the attempts")
        drains.finish()
        yield {"shop": shop, "payer": payer}


@pytest.mark.slow
def test_as_typed_acts_stand_in_order_and_say_what_changed(database, tmp_path, app_context):
    acted("rate_limit.change", "rate_limit", before={"per_minute": 120}, after={"per_minute": 60})
    acted("wallet.freeze", "wal_1", after={"reason": f"called from {PHONE}", "phone": PHONE})
    acted("metrics.read", actor="address:203.0.113.7", outcome="unauthenticated")
    acted("metrics.read", actor="address:203.0.113.8", outcome="unauthenticated")
    done = running.script(database, tmp_path, "incident_timeline.py", *window())
    text = running.told(done)
    first, second, third = (
        text.index(part)
        for part in (
            "| setting | rate_limit.change (per_minute: 120 → 60) | operator:ann |",
            "| operator | wallet.freeze on wal_1 (reason: called from [redacted]",
            "| operator | metrics.read refused: unauthenticated (2 times, until",
        )
    )
    assert first < second < third
    assert "203.0.113" not in text and "| a stranger |" in text
    assert PHONE[1:] not in text
    assert f"- Missing: {incident_timeline.NO_PROMETHEUS}" in text
    assert done.stderr == ""


def test_what_lies_outside_the_window_is_left_out(app_context, capsys):
    acted("fees.change", "fees")
    now = clock.now()
    for start, end in ((now - 2 * HOUR, now - HOUR), (now + HOUR, now + 2 * HOUR)):
        times = ["--from", clock.to_rfc3339(start), "--to", clock.to_rfc3339(end)]
        assert incident_timeline.tell(incident_timeline._arguments(times)) == 0
        text = capsys.readouterr().out
        assert "fees.change" not in text
        assert "Nothing is known to have been deployed, changed or alerted" in text


def test_a_long_trail_is_read_whole(app_context, monkeypatch):
    monkeypatch.setattr(happenings, "PAGE", 2)
    made = {acted("fees.change", f"fees_{number}") for number in range(5)}
    now = db.now()
    with db.snapshot():
        read = list(happenings.audited(now - HOUR, now + HOUR))
    assert {each.id for each in read} == made and len(read) == 5


def test_who_was_hit_is_counted_from_rows(timeline, trouble):
    shown = timeline()
    impact = shown["impact"]
    assert impact["payments_asked_for"] == {"expired": 1, "succeeded": 1}
    assert impact["paid_later_than_300_s"] == 1
    assert impact["customers_whose_payment_expired_or_came_late"] == 2
    assert impact["merchants_hit"] == 1 and impact["endpoints_with_trouble"] == 1
    attempts = impact["attempts_by_outcome"]
    assert attempts["success"] == 3 and attempts["http_5xx"] >= 3
    assert impact["answers_of_5xx"] is None
    (counts,) = shown["merchants"].values()
    assert list(shown["merchants"]) == [trouble["shop"]]
    assert counts["payments expired"] == counts["payments late"] == 1
    assert counts["attempts failed"] == attempts["http_5xx"]
    assert sum(shown["rates"]["payments asked"]) == 2
    assert sum(shown["rates"]["payments paid"]) == 1
    assert sum(shown["rates"]["attempts failed"]) == attempts["http_5xx"]


def test_a_late_payment_is_one_that_is_later_than_asked(timeline, trouble):
    impact = timeline("--late", "3600")["impact"]
    assert impact["paid_later_than_3600_s"] == 0
    assert impact["customers_whose_payment_expired_or_came_late"] == 1


def test_the_markdown_has_a_table_with_a_line_for_each_step(told, trouble):
    text = told("--step", "60", minutes=9)
    assert "### Rates, each 1 min" in text
    steps = [line for line in text.splitlines() if line.count("|") == 6 and line[2].isdigit()]
    assert len(steps) in (10, 11)
    assert f"| {trouble['shop']} | 1 | 1 |" in text
    assert "- Deliveries: " in text and PHONE[1:] not in text


def test_a_prometheus_that_does_not_answer_is_named_and_the_rest_is_written(timeline):
    acted("fees.change", "fees")
    shown = timeline(*NOWHERE, code=1)
    assert [each["what"] for each in shown["timeline"]] == ["fees.change"]
    (missing,) = shown["missing"]
    assert missing.endswith("http://127.0.0.1:1 does not answer: ConnectionError")


@pytest.mark.slow
def test_the_readmes_command_as_it_stands(postgres, tmp_path):
    """But for the address of Prometheus, which nobody answers here: exit 1 says so."""
    command = (
        ".venv/bin/python scripts/incident_timeline.py --from 2025-09-01T08:00:00Z"
        " --to 2025-09-01T09:30:00Z --prometheus http://127.0.0.1:9090"
    )
    assert command in (ROOT / "README.md").read_text()
    assert command in (ROOT / "ops" / "incidents" / "TEMPLATE.md").read_text()
    _, script, *options = shlex.split(command.replace(":9090", ":1"))
    done = running.script(postgres, tmp_path, script.removeprefix("scripts/"), *options)
    text = running.told(done, 1)
    assert text.startswith("## Timeline, 2025-09-01, 08:00:00 to 09:30:00 UTC")
    assert "### Rates, each 5 min" in text


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_named_and_the_rest_is_written(tmp_path):
    log = written(tmp_path, line("audit", audit_id="aud_1", action="fees.change", outcome="done"))
    nowhere = "postgresql://x@127.0.0.1:1/x"
    options = (*window(), "--json", "--audit-log", log)
    done = running.script(nowhere, tmp_path, "incident_timeline.py", *options)
    shown = running.as_json(done, 1)
    assert shown["missing"][0] == "acts, payments and webhooks: the database does not answer"
    assert [each["id"] for each in shown["timeline"]] == ["aud_1"]


def line(message: str, ago_s: float = 5, **fields) -> str:
    at = clock.to_rfc3339(clock.now() - timedelta(seconds=ago_s))
    told = {"actor": "operator:bo", "subject_id": None, **fields} if message == "audit" else fields
    return json.dumps({"time": at, "level": "INFO", "logger": "x", "message": message, **told})


def written(folder, *lines: str) -> str:
    path = folder / "outside.log"
    path.write_text("".join(f"{each}\n" for each in lines))
    return str(path)


def test_the_log_tells_what_a_restored_database_does_not_know(tmp_path, timeline):
    known = acted("fees.change", "fees")
    log = written(
        tmp_path,
        line("begins", ago_s=3600),
        "no json",
        '["json", "but no line of ours"]',
        line("audit", audit_id=known, action="fees.change", outcome="done"),
        line("audit", 60, audit_id="aud_lost", action="otp.change", outcome="done",
             after={"per_hour": 5}),
        line("Starting gunicorn 27.0.1", logger="gunicorn.error", ago_s=90),
        line("request", status=500, caller="customer:cus_1"),
        line("request", status=503, caller="customer:cus_1"),
        line("request", status=503, caller=None),
        line("request", status=404, caller="customer:cus_2"),
        line("audit", 3000, audit_id="aud_old", action="otp.change", outcome="done"),
        line("ends", ago_s=-120),
    )  # fmt: skip
    shown = timeline("--audit-log", log)
    assert [(each["what"], each["id"]) for each in shown["timeline"]] == [
        ("the web server starts", None),
        ("otp.change (per_hour: 5)", "aud_lost"),
        ("fees.change", known),
    ]
    assert shown["impact"]["answers_of_5xx_in_the_log"] == 3
    assert shown["impact"]["callers_who_got_one"] == 1
    assert shown["missing"] == [incident_timeline.NO_PROMETHEUS]


def test_a_log_that_does_not_cover_the_window_is_said_so():
    lines = [line("request", status=200, ago_s=300), line("request", status=200, ago_s=200)]

    start, end = clock.now() - HOUR, clock.now()
    told = telling.Told(start, end, HOUR)
    log = happenings.read(lines, start, end)
    begins, stops = incident_timeline._not_covered(told, log)
    assert "it begins there" in begins and "it ends there" in stops
    # A service that nobody asked for some seconds writes nothing: that is no gap.
    lines = [line("request", status=200, ago_s=3700), line("request", status=200, ago_s=20)]
    whole = happenings.read(lines, start, end)
    assert list(incident_timeline._not_covered(told, whole)) == []
    assert len(list(incident_timeline._not_covered(told, happenings.read([], start, end)))) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--from", "2025-09-01T08:00:00"), "--from"),
        (("--from", "2025-09-01T08:00:00Z", "--to", "2025-09-01T07:00:00Z"), "later than --from"),
        (
            ("--from", "2025-09-01T08:00:00Z", "--to", "2025-09-03T08:00:00Z", "--step", "60"),
            "more than 500 steps",
        ),
        ((), "--from"),
    ],
)
def test_what_makes_no_window_is_refused(options, why, capsys):
    with pytest.raises(SystemExit) as ended:
        incident_timeline.main([*options])
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_it_writes_to_a_file_or_says_that_it_can_not(told, tmp_path):
    out = tmp_path / "timeline.md"
    assert told("--out", str(out)) == ""
    assert out.read_text().startswith("## Timeline, ")
    with pytest.raises(Refused, match="Is a directory"):
        told("--out", str(tmp_path))
    with pytest.raises(Refused, match="No such file"):
        told("--audit-log", str(tmp_path / "none"))


@pytest.mark.slow
def test_ctrl_c_ends_it_at_once(postgres, tmp_path):
    with running.connected(postgres) as owner, running.connected(postgres) as other:
        owner.execute("BEGIN; LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE")
        code, said = running.interrupted(
            postgres, tmp_path, "incident_timeline.py", *window(),
            when=lambda: running.waiting(other),
        )  # fmt: skip
    assert (code, said) == (130, "incident_timeline: stopped\n")


def test_courses_are_drawn_with_bars():
    assert telling.spark([0, 1, 4, None, 8]) == "▁▁▄·█"
    assert telling.spark([0, 0]) == "▁▁"
    assert telling.spark([]) == ""
