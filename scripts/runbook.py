"""Show every alert live and write into the runbook how long each took: `make runbook`.

Runs the tests that make each alert's fault, wait until it fires and arrives, type the runbook's own
commands and wait until it clears. Only if all of them pass is the table written, between its marks.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _root
from scripts import alert_rules
from tests.live import results, stack

FINE, FAILED = 0, 1
# In this order, so that the two that take long are not given to one process.
TESTS = (
    "tests/live/test_worker_and_stores.py",
    "tests/observability/test_runbook.py",
    "tests/live/test_traffic.py",
)
RUNBOOK = _root.ROOT / alert_rules.RUNBOOK
BEGIN, END = "<!-- shown: written by `make runbook` -->", "<!-- /shown -->"
HEAD = """\
Windows and waits {speed} times shorter than in production, Alertmanager's too; thresholds as they
are; of burn rates the fastest ({burn:g}). Fired: seconds from the fault until Prometheus told of
it; for Watchdog, until its silence was noticed. Cleared: seconds from the first mending command.

| Alert | The fault that was made | Fired, s | Cleared, s |
| --- | --- | --- | --- |"""

Times = Mapping[str, Mapping[str, Any]]
"""By alert: `fault`, `fired_s` and `cleared_s`."""


def alert_names() -> list[str]:
    """Every alert once, in the order of the rules."""
    groups = alert_rules.rules()["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    return list(dict.fromkeys(names))


def table(times: Times) -> str:
    """The table, and how its times were taken. Raises KeyError for an alert without its times."""
    rows = [
        f"| {name} | {times[name]['fault']} | {times[name]['fired_s']:.0f}"
        f" | {times[name]['cleared_s']:.0f} |"
        for name in alert_names()
    ]
    head = HEAD.format(speed=stack.SPEED, burn=alert_rules.BURNS[0].times)
    return "\n".join([head, *rows])


def written(text: str, shown: str) -> str:
    """The runbook's text with this between its marks. Raises ValueError where they are missing."""
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.S)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{alert_rules.RUNBOOK} has no place for the table: {BEGIN}")
    return pattern.sub(lambda _: f"{BEGIN}\n{shown}\n{END}", text)


def show(folder: Path) -> int:
    """Run the tests; their exit code. They leave each alert's times in the folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", *TESTS]
    environ = {**os.environ, results.FOLDER: str(folder)}
    return subprocess.run(command, cwd=_root.ROOT, env=environ, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    """Exit 0: all shown, the table is written. 1: something failed; the runbook is as it was."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if show(folder) != 0:
            print("Not every alert was shown: the runbook's table stays as it was", file=sys.stderr)
            return FAILED
        times = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    RUNBOOK.write_text(written(RUNBOOK.read_text(), table(times)))
    print(f"{alert_rules.RUNBOOK}: {len(times)} alerts, when they fired and when they cleared")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
