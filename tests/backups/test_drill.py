"""The drill, in a short form; and it says so when something is lost that may not be."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from payments import clock
from scripts import restore_drill
from scripts.backups import making
from tests import databases
from tests.backups import drill, stock
from tests.backups.drill import Drill, Outcome, Restored
from tests.backups.paying import Acknowledged
from tests.checkout import world
from tests.children import ROOT, plain_environ

WITHIN_S = 300


@pytest.mark.slow
def test_both_ways_bring_back_what_was_acknowledged(tmp_path):
    done = subprocess.run(
        [sys.executable, "scripts/restore_drill.py", "--json"]
        + ["--seconds", "3", "--archive-timeout", "1", "--clients", "2"],
        cwd=ROOT, env=plain_environ(tmp_path), capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    wal, dump = json.loads(done.stdout)["ways"]
    for way in (wal, dump):
        assert way["good"] is True
        assert way["acknowledged"] > 10
        assert way["outside"] == way["smaller_versions"] == way["findings"] == []
        assert way["named"] >= way["lost"]
        assert 0 < sum(way["steps"].values()) < WITHIN_S
    assert wal["rpo_s"] <= wal["rpo_stated_s"] == 1 + drill.ARCHIVED_WITHIN.total_seconds()
    # The dump was taken half-way: what came after it is gone, and nothing else.
    assert 0 < dump["lost"] < dump["acknowledged"]
    assert 0 < dump["rpo_s"] <= dump["rpo_stated_s"]


@pytest.fixture
def left(postgres, stocked, tmp_path):
    """What is known after a disaster, with one payment in the database that came back."""
    environ = databases.environ_for(postgres, tmp_path)
    now = clock.now()
    return Drill(
        kept=None, environ=environ, codes=None, folder=tmp_path, shop=None,  # type: ignore[arg-type]
        acknowledged=[Acknowledged(stocked.paid, now - timedelta(seconds=60), 1)],
        log=tmp_path, disaster=now, stopped_s=0, archive_timeout_s=5,
    )  # fmt: skip


def held(left: Drill, *, until_s: float, from_s: float, findings=()) -> Outcome:
    """The comparison; the seconds before the disaster until which data is there, and must be."""
    at = left.disaster
    back = Restored(
        None, "", at - timedelta(seconds=until_s), at - timedelta(seconds=from_s)  # type: ignore[arg-type]
    )  # fmt: skip
    return drill.compared(left, {}, back, list(findings))


def test_a_payment_lost_inside_the_window_is_counted_and_one_outside_is_a_failure(left):
    whole = held(left, until_s=10, from_s=10)
    assert (whole.lost, whole.rpo_s, whole.is_good) == (0, 0, True)
    gone = Acknowledged("pay_gone", left.disaster - timedelta(seconds=4), 1)
    left = replace(left, acknowledged=[*left.acknowledged, gone])
    inside = held(left, until_s=5, from_s=5)
    assert (inside.lost, inside.outside, inside.rpo_s) == (1, [], 4)
    inside.named = 1
    assert inside.is_good
    for until_s, from_s in ((3, 5), (5, 3)):  # older than the data, or than what was promised
        outside = held(left, until_s=until_s, from_s=from_s)
        assert (outside.outside, outside.is_good) == (["pay_gone"], False)


def test_a_fallen_version_a_finding_and_a_silent_log_are_failures(left, stocked):
    seen = Acknowledged(stocked.paid, left.disaster, 1 << 60)
    fallen = held(replace(left, acknowledged=[seen]), until_s=5, from_s=5)
    assert (fallen.smaller_versions, fallen.is_good) == ([stocked.paid], False)
    assert not held(left, until_s=5, from_s=5, findings=["broken"]).is_good
    silent = held(left, until_s=5, from_s=5)
    silent.lost = 1
    assert not silent.is_good


@pytest.mark.parametrize(("outside", "code"), [([], 0), (["pay_gone"], 1)])
def test_the_script_ends_by_what_was_lost(monkeypatch, left, outside, code):
    found = replace(held(left, until_s=5, from_s=5), way="by hand", outside=outside)
    monkeypatch.setattr(drill, "run", lambda *_how: [found])
    told = stock.run(restore_drill.main)
    assert told.code == code
    assert "RPO, of at most 5.0 s stated" in told.out


def test_a_drill_that_can_not_be_run_says_why(monkeypatch):
    def fails(*_how: object) -> None:
        raise drill.DrillFailed("restore.py ended with 3: no identity matched")

    monkeypatch.setattr(drill, "run", fails)
    told = stock.run(restore_drill.main)
    assert (told.code, "no identity matched" in told.err) == (3, True)


def test_a_dump_holds_all_that_was_committed_before_its_moment(
    postgres, stocked, tmp_path, monkeypatch
):
    """Its time is taken before its snapshot, never after: the window is not too small."""
    order: list[str] = []
    real = making._one

    def watched(connection, statement):
        order.append(statement)
        return real(connection, statement)

    monkeypatch.setattr(making, "_one", watched)
    with making._snapshot(making.Database("x", postgres.replace("+psycopg", ""), {})) as moment:
        with stock.service(postgres, tmp_path):
            world.customer("+4915133333333")
        assert moment.at <= clock.now()
    assert order.index("SELECT now()") < order.index("SELECT pg_export_snapshot()")
