"""The runbook's table, which `make runbook` writes: each alert, its fault, and how long it took."""

import re

import pytest

from scripts import runbook
from tests.children import ROOT
from tests.stories.test_readme import recipe

RUNBOOK = runbook.RUNBOOK.read_text()
TIMES = {
    name: {"fault": f"the fault of {name}", "fired_s": 3.2, "cleared_s": 10.7}
    for name in runbook.alert_names()
}


def test_the_table_names_each_alert_once():
    shown = RUNBOOK.partition(runbook.BEGIN)[2].partition(runbook.END)[0]
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| \d+ \| \d+ \|$", shown, re.M)
    assert rows == runbook.alert_names()


def test_a_table_is_written_between_its_marks():
    once = runbook.written(RUNBOOK, runbook.table(TIMES))
    assert once.count("| the fault of ") == len(TIMES)
    assert runbook.written(once, runbook.table(TIMES)) == once
    assert once.partition(runbook.BEGIN)[0] == RUNBOOK.partition(runbook.BEGIN)[0]
    with pytest.raises(ValueError, match="no place"):
        runbook.written("nothing", "")
    with pytest.raises(KeyError):
        runbook.table({})


@pytest.mark.slow
def test_make_runbook_runs_the_script(tmp_path):
    assert recipe("runbook", tmp_path) == [
        "ops/dev/servers.sh", ".venv/bin/python scripts/runbook.py"
    ]  # fmt: skip
    assert [test for test in runbook.TESTS if not (ROOT / test).exists()] == []


def test_where_a_test_fails_the_table_stays(monkeypatch, capsys):
    monkeypatch.setattr(runbook, "show", lambda folder: 1)
    before = RUNBOOK
    assert runbook.main([]) == runbook.FAILED
    assert runbook.RUNBOOK.read_text() == before
    assert "stays as it was" in capsys.readouterr().err
