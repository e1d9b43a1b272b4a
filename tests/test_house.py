"""The house rules that a machine can check: each fails here before it fails a reader."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from payments import app, config, errors, gauges, totals
from tests import nursery

ROOT = config.ROOT
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
VAGUE_NAMES = {"service", "services", "utils", "helpers", "common", "manager", "misc"}

# Migrations are one long list of statements by nature.
CODE = sorted(
    path
    for room in ("payments", "jobs", "scripts", "tests")
    for path in (ROOT / room).rglob("*.py")
) + [ROOT / "wsgi.py", ROOT / "ops" / "gunicorn.conf.py"]
OURS = [path for path in CODE if "tests" not in path.relative_to(ROOT).parts]
ROOMS = [path for path in OURS if path.relative_to(ROOT).parts[0] == "payments"]
SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.name[0] != "_")
README = (ROOT / "README.md").read_text()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(), str(path))))


def called(node: ast.AST) -> str:
    """The last part of what a call calls: `commit` in `session.commit()`."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def finds(paths: list[Path], matches) -> list[str]:
    """`file:line` of every node that matches."""
    return [
        f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        for path in paths
        for node in nodes(path)
        if matches(node)
    ]


def test_files_can_be_read_whole():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in CODE}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_fit_on_a_screen():
    long = {
        f"{name_of(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in CODE
        for node in nodes(path)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    }
    assert long == {}


def test_modules_are_named_after_what_they_do():
    assert [name_of(path) for path in CODE if path.stem in VAGUE_NAMES] == []
    assert [name_of(path) for path in CODE if path.parent.name in VAGUE_NAMES] == []


def test_every_module_says_what_it_is():
    silent = [path for path in CODE if not ast.get_docstring(ast.parse(path.read_text()))]
    assert [name_of(path) for path in silent if path.read_text().strip()] == []


def test_public_things_have_docstrings():
    public = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bare = [
        f"{name_of(path)}:{node.name}"
        for path in OURS
        for node in ast.parse(path.read_text()).body
        if isinstance(node, public) and node.name[0] != "_" and not ast.get_docstring(node)
    ]
    assert bare == []


def test_only_db_commits():
    outside = [path for path in OURS if path.name not in {"units.py", "postgres.py", "sqlite.py"}]
    assert finds(outside, lambda node: called(node) in {"commit", "rollback"}) == []


def test_only_scripts_print():
    quiet = [path for path in OURS if path not in SCRIPTS]
    assert finds(quiet, lambda node: called(node) in {"print", "pprint"}) == []


def test_a_todo_names_its_issue():
    # Written apart, or this line would be found.
    mark = re.compile("TO" + r"DO\b(?! \(#\d+\))|FIX" + "ME")
    files = [*CODE, *(ROOT / "migrations").rglob("*.py"), ROOT / "Makefile", ROOT / "README.md"]
    assert [name_of(path) for path in files if mark.search(path.read_text())] == []


def test_nobody_calls_float_or_makes_a_naive_time():
    def naive(node: ast.AST) -> bool:
        if called(node) in {"utcnow", "utcfromtimestamp"}:
            return True
        return (
            isinstance(node, ast.Call)
            and called(node) == "now"
            and ast.unparse(node.func) == "datetime.now"
            and not node.args
            and not node.keywords
        )

    assert finds(OURS, lambda node: called(node) == "float") == []
    assert finds(CODE, naive) == []


def test_no_exception_is_swallowed():
    def swallowed(node: ast.AST) -> bool:
        return isinstance(node, ast.ExceptHandler) and all(
            isinstance(line, ast.Pass)
            or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            for line in node.body
        )

    def reasoned(place: str) -> bool:
        """Whether the lone `pass` says beside it why there is nothing to do."""
        name, _, line = place.partition(":")
        handler = (ROOT / name).read_text().splitlines()[int(line) :]
        return re.match(r" +pass  # \w", handler[0]) is not None

    def bare(node: ast.AST) -> bool:
        return isinstance(node, ast.ExceptHandler) and node.type is None

    silent = [place for place in finds(CODE, swallowed) if not reasoned(place)]
    assert silent == []
    assert finds(CODE, bare) == []


def test_flask_stays_in_api_and_its_two_neighbours():
    def http(node: ast.AST) -> bool:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        return any(re.match(r"(flask|werkzeug|spectree)", name) for name in names)

    doors = {ROOT / "payments" / "db.py", ROOT / "payments" / "app.py"}
    below = [path for path in ROOMS if path not in doors and "api" not in path.parts]
    assert finds(below, http) == []


def test_only_the_factory_has_effects():
    """Every module is imported with no environment, no network and nowhere to write."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in OURS
        if path.relative_to(ROOT).parts[0] in {"payments", "jobs", "scripts"}
    ]
    check = f"""
        import importlib, logging, socket, sys, threading
        import requests  # urllib3 binds a socket when imported, to see whether IPv6 works
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "scripts")!r}]
        effects = ("socket.", "subprocess.", "os.system", "os.mkdir", "os.remove", "os.rename",
                   "os.fork", "os.posix_spawn", "sqlite3.connect", "shutil.", "tempfile.")
        harmless = ("socket.__new__", "socket.gethostname")
        def watch(event, args):
            if event == "open":
                wrote = isinstance(args[1], str) and set(args[1]) & set("wax+")
                if wrote and args[0] != "/dev/null":
                    sys.exit(f"{{module}} writes {{args[0]}}")
            elif event.startswith(effects) and event not in harmless:
                sys.exit(f"{{module}}: {{event}} {{args}}")
        for module in {[*modules]!r}:
            if module == {modules[0]!r}:
                sys.addaudithook(watch)
            try:
                importlib.import_module(module)
            except Exception as error:
                sys.exit(f"{{module}} can't be imported: {{error!r}}")
        threads = [thread.name for thread in threading.enumerate()]
        assert threads == ["MainThread"], threads
        handlers = logging.getLogger().handlers
        assert handlers == [], handlers
    """
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(check)],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_says_how_to_use_it(script, tmp_path):
    environ = {"PATH": os.environ["PATH"], "INSTANCE_DIR": str(tmp_path)}
    told = nursery.run([name_of(script), "--help"], environ)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("usage:")
    assert len(told.stdout.splitlines()) > 3
    assert nursery.run([name_of(script), "--no-such"], environ).returncode == 2
    assert list(tmp_path.iterdir()) == []


def _table(heading: str, of: str) -> dict[str, str]:
    """The first and second column of the table under a heading of the README."""
    section = of.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE)
    return {name: cell.strip() for name, cell in rows}


def test_every_setting_is_in_the_readme_with_its_default():
    table = _table("Configure it", README)
    assert set(table) == set(config.VARIABLES)
    for name, field in config.Settings.model_fields.items():
        if isinstance(field.default, (bool, int)):
            told = f"`{str(field.default).lower()}`"
            assert told in table[name.upper()], name
        elif name in {"env", "default_currency", "sms_backend", "log_level", "log_format"}:
            assert table[name.upper()] == f"`{field.default}`"


def test_every_setting_is_in_the_example_file_with_its_default():
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    assert set(example) == set(config.VARIABLES)
    for name, value in example.items():
        default = config.Settings.model_fields[name.lower()].default
        if value and name != "INSTANCE_DIR":
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert value == shown, name


def test_the_example_file_starts_a_development_machine(tmp_path):
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert config.load_settings({}, root=tmp_path) == config.load_settings({}, root=tmp_path)
    (tmp_path / ".env").unlink()
    without = config.load_settings({}, root=tmp_path)
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert config.load_settings({}, root=tmp_path) == without


def test_every_make_target_is_in_help():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets
    told = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+) +\S", told, re.MULTILINE)) == targets


def test_what_the_procfile_starts_is_there():
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["release", "web", "worker"]
    files = re.findall(r"\b(?:scripts|ops)/[\w./]+", "\n".join(lines))
    assert files == ["scripts/migrate.py", "ops/gunicorn.conf.py"]
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_ci_runs_the_readmes_own_command():
    command = (ROOT / ".ci" / "run").read_text().splitlines()[-1].removeprefix("exec ")
    assert command == "make test"
    assert f"\n{command} " in README.partition("\n## Test it\n")[2].partition("\n## ")[0]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_requirement_is_pinned_and_has_its_reason():
    reasons = README.partition("\n## Dependencies\n")[2]
    given = {
        name for row in re.findall(r"^\| ([a-z].*?) \|", reasons, re.M) for name in row.split(", ")
    }
    lines = [
        line
        for file in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / file).read_text().splitlines()
        if not line.startswith(("#", "-r "))
    ]
    pins = [re.fullmatch(r"([a-z-]+)(\[\w+\])?==(\d+!)?[\w.]+", line) for line in lines]
    assert [line for line, pin in zip(lines, pins, strict=True) if pin is None] == []
    assert {pin[1] for pin in pins if pin} == given


def test_every_error_is_told_once_in_the_readme_and_drawn_in_the_tree():
    told = dict[str, int]()
    for status, codes in re.findall(r"^\| (\d{3}) \| (.*) \|$", README, re.MULTILINE):
        told |= {code: int(status) for code in re.findall(r"`(\w+)`", codes)}
    known = errors.all_errors()
    assert told == {error.code: error.status for error in known}
    assert len({error.code for error in known}) == len(known)
    assert [error for error in known if not error.__doc__ or not error.title] == []
    tree = (errors.__doc__ or "").partition("PaymentsError\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"\b[A-Z]\w+", tree)) == sorted(error.__name__ for error in known)


def test_every_metric_is_in_the_readme():
    assert app.GAUGES  # the app brings them all
    families = [*(family.name for family in REGISTRY.collect()), *gauges.GAUGES, *totals.TOTALS]
    ours = {name for name in families if name.startswith(("payments_", "http_"))}
    assert len(ours) > 20
    assert {name for name in ours if name not in README} == set()
