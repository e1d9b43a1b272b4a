"""Every command of the README is run here, or by the test that its line in `SHOWN_BY` names."""

import ast
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from payments import unsafe
from tests.children import ROOT, plain_environ

README = (ROOT / "README.md").read_text()
WITHIN_S = 120

FIRST_CALLS = [line for line in README.splitlines() if re.match(r"CHALLENGE=|CODE=|curl ", line)]
"""Which the README says can be pasted while the service runs."""
SHOWN_BY = {
    "make run": "tests/stories/test_demo.py::service",
    "make demo": "tests/stories/test_demo.py::demo",
    **dict.fromkeys(
        FIRST_CALLS, "tests/stories/test_demo.py::test_the_readmes_first_calls_sign_in"
    ),
    "make test": "tests/stories/test_readme.py::test_ci_runs_make_test_and_it_runs_all",
    "make unit": "tests/stories/test_readme.py::test_make_unit_leaves_real_processes_out",
    "make bench": "tests/bench/test_bench.py::test_a_short_run_writes_every_figure",
    'python3 -c "import secrets; print(secrets.token_urlsafe(48))"': (
        "tests/stories/test_readme.py::test_the_secret_that_the_readme_makes_is_a_strong_one"
    ),
    'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"': (
        "tests/stories/test_readme.py::test_the_encryption_key_that_the_readme_makes_is_one"
    ),
    ".venv/bin/python scripts/dashboards.py": (
        "tests/observability/test_dashboards.py::test_the_files_are_what_the_code_makes"
    ),
    "make pictures": ("tests/observability/test_live.py::test_pictures_are_drawn_of_every_panel"),
    ".venv/bin/python scripts/migrate.py": (
        "tests/stories/test_readme.py::test_migrate_brings_a_fresh_database_up"
    ),
    ".venv/bin/python scripts/reconcile.py": (
        "tests/scripts/test_reconcile.py::test_a_sound_ledger_is_fine_and_the_run_is_noted"
    ),
    ".venv/bin/python scripts/reconcile.py --fix-balances": (
        "tests/scripts/test_reconcile.py::test_the_runbooks_command_repairs_without_a_terminal"
    ),
    (
        ".venv/bin/python scripts/settlement_report.py"
        " --from 2025-09-01T00:00:00Z --to 2025-09-30T23:59:59Z > settlement.csv"
    ): "tests/scripts/test_settlement_report.py::test_the_runbooks_command_as_it_stands",
    ".venv/bin/python scripts/webhooks_requeue.py --dry-run": (
        "tests/scripts/test_webhooks_requeue.py::test_a_dry_run_shows_and_changes_nothing"
    ),
    ".venv/bin/python scripts/webhooks_requeue.py": (
        "tests/scripts/test_webhooks_requeue.py::test_what_failed_is_sent_again_under_its_old_id"
    ),
    ".venv/bin/python scripts/alert_rules.py": (
        "tests/observability/test_alert_rules.py::test_the_rules_are_what_the_objectives_make"
    ),
    ".venv/bin/python scripts/reseal.py": (
        "tests/scripts/test_reseal.py::test_the_script_as_typed_after_a_rotation"
    ),
    (
        ".venv/bin/python scripts/incident_timeline.py --from 2025-09-01T08:00:00Z"
        " --to 2025-09-01T09:30:00Z --prometheus http://127.0.0.1:9090"
    ): "tests/scripts/test_incident_timeline.py::test_the_readmes_command_as_it_stands",
}
"""Command -> the test or fixture that runs it."""


def blocks() -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command of the blocks, without its comment."""
    lines = [line for _, text in blocks() for line in text.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.strip()]


def command(start: str) -> str:
    """The README's one command that starts so."""
    (found,) = [each for each in commands() if each.startswith(start)]
    return found


def run(text: str, folder: Path, **more: str) -> str:
    """What a command prints, run as typed from the root, in a plain environment."""
    text = text.replace(".venv/bin/python", sys.executable, 1)
    done = subprocess.run(
        text, shell=True, cwd=ROOT, env=plain_environ(folder) | more,
        capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def recipe(target: str, folder: Path) -> list[str]:
    """What make would run, without what it would install."""
    make = shutil.which("make")
    assert make is not None, "make is missing: apt-get install make"
    lines = run(f"{make} -n {target}", folder).splitlines()
    return [line for line in lines if not re.search(r"pip install|-m venv|^touch |^python3 ", line)]


def test_each_command_is_shown_and_nothing_else_claims_to_be():
    assert {language for language, _ in blocks()} == {"sh"}
    assert commands() == list(SHOWN_BY)


@pytest.mark.parametrize("shown", sorted(set(SHOWN_BY.values())))
def test_what_shows_a_command_stands(shown):
    path, _, name = shown.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.slow
@pytest.mark.parametrize(("target", "script"), [("run", "run.py"), ("demo", "demo.py")])
def test_make_runs_the_scripts_that_the_demos_test_runs(target, script, tmp_path):
    assert command(f"make {target}") == f"make {target}"
    assert recipe(target, tmp_path) == [f".venv/bin/python scripts/{script}"]
    assert f'[sys.executable, "scripts/{script}"]' in (
        ROOT / "tests" / "stories" / "test_demo.py"
    ).read_text()  # fmt: skip


@pytest.mark.slow
def test_ci_runs_make_test_and_it_runs_all(tmp_path):
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == f"exec {command('make test')}"
    run_by = "\n".join(recipe("test", tmp_path))
    for part in ("ruff check", "ruff format --check", "mypy", "lint-imports"):
        assert f".venv/bin/{part}\n" in run_by
    measured, gate, rest = run_by.splitlines()[-3:]
    start = ".venv/bin/python -m pytest -n auto --dist worksteal "
    these = measured.removeprefix(f"{start}--cov --cov-report= ").split()
    assert these and all((ROOT / each).exists() for each in these)
    assert gate.endswith("--fail-under=100")
    ignored = [f"--ignore={each}" for each in these]
    assert rest == start + " ".join(ignored)


@pytest.mark.slow
def test_make_unit_leaves_real_processes_out(tmp_path):
    (line,) = recipe(command("make unit").removeprefix("make "), tmp_path)
    these = "tests/stories/test_demo.py tests/test_config.py::test_settings_do_not_change"
    said = run(f"{line} -p no:cacheprovider {these}", tmp_path)
    slow = (ROOT / "tests" / "stories" / "test_demo.py").read_text().count("\ndef test_")
    assert f"1 passed, {slow} deselected" in said


@pytest.mark.slow
def test_the_secret_that_the_readme_makes_is_a_strong_one(tmp_path):
    secret = run(command('python3 -c "import secrets'), tmp_path).strip()
    assert unsafe.weakness(secret) is None


@pytest.mark.slow
def test_the_encryption_key_that_the_readme_makes_is_one(tmp_path):
    key = run(command('python3 -c "import base64'), tmp_path).strip()
    assert unsafe.weakness(key) is None
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"whsec")) == b"whsec"


@pytest.mark.slow
def test_migrate_brings_a_fresh_database_up(tmp_path):
    here = {"ENV": "development", "INSTANCE_DIR": str(tmp_path), "DB_URL": "", "DATABASE_URL": ""}
    run(command(".venv/bin/python scripts/migrate.py"), tmp_path, **here)
    connection = sqlite3.connect(tmp_path / "payments.db")
    try:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    finally:
        connection.close()
    assert revision == max(path.stem for path in (ROOT / "migrations/versions").glob("*.py"))
