"""Every command of ops/backups/README.md is run here, as typed and in its order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from payments import clock, db
from payments.checkout import payments
from scripts.backups import folder
from tests import databases
from tests.backups import clusters, stock
from tests.checkout import world
from tests.children import ROOT, plain_environ
from tests.redis_server import address
from tests.servers import new_folder, private_postgres
from tests.stories.test_readme import recipe

README = (ROOT / "ops" / "backups" / "README.md").read_text()
WITHIN_S = 120
DRILL = "make restore-drill"  # tests/backups/test_drill.py runs its script


def blocks() -> list[str]:
    """The text of each fenced block."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in found} <= {"sh", "text"}
    return [text for language, text in found if language == "sh"]


class Reader:
    """Types the README's commands in their order."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.left = blocks()

    def types(self, start: str, fine: tuple[int, ...] = (0,)) -> str:
        """The next block, which has such a command; what it prints."""
        text = self.left.pop(0)
        assert start in text, text
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text.replace(".venv/bin/python", sys.executable)],
            cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=WITHIN_S,
        )  # fmt: skip
        assert done.returncode in fine, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def places(tmp_path):
    """Folders for the variables; the archive where Postgres's user can write."""
    shared = new_folder()
    found = {
        "BACKUPS": tmp_path / "backups", "KEYS": tmp_path / "keys", "WAL": shared / "wal",
        "ELSEWHERE": tmp_path / "elsewhere",
    }  # fmt: skip
    for path in found.values():
        path.mkdir()
    if os.geteuid() == 0:
        shutil.chown(found["WAL"], "postgres")
    yield {name: str(path) for name, path in found.items()}
    shutil.rmtree(shared)


def typed(server, name: str = clusters.DATABASE) -> str:
    return server.url(name).replace("postgresql+psycopg://", "postgres://")


@pytest.mark.slow
def test_its_commands_work_as_typed(places, servers, worker_number, redis_client, tmp_path):
    redis_client.config_set("repl-diskless-sync-delay", 0)
    redis_client.set("kept", "here")
    with private_postgres() as server, clusters.second() as new:
        server.execute(f"CREATE DATABASE {clusters.DATABASE}")
        url = server.url(clusters.DATABASE)
        databases.migrate(url, tmp_path)
        with stock.service(url, tmp_path):
            filled = stock.fill()
        environ = {
            **plain_environ(tmp_path), **databases.environ_for(typed(server), tmp_path), **places,
            "REDIS_URL": address(servers.redis_port, worker_number),
            "SUPERUSER_URL": typed(server), "NEW_DATA": str(new.folder / "data"),
            "DATABASE": clusters.DATABASE, "NEW_DB_URL": typed(new, "restored"),
            "LOG": str(tmp_path / "outside.log"),
        }  # fmt: skip
        reader = Reader(environ)
        back_up(reader, server, places)
        later = pay(url, filled, tmp_path)
        clusters.archive_all(server)
        server.kill()
        (tmp_path / "outside.log").write_text(line_of_a_lost_deposit())
        bring_back(reader, new)
        assert later in paid_in(new, clusters.DATABASE)
        assert later not in paid_in(new, "restored")
        assert filled.paid in paid_in(new, "restored")
    assert [text.strip() for text in reader.left] == [DRILL]


def back_up(reader: Reader, server, places) -> None:
    reader.types("age-keygen")
    reader.types("backup.py create")
    (made,) = folder.every(Path(places["BACKUPS"]))
    assert folder.damage(folder.read(Path(places["ELSEWHERE"]) / made.manifest.id)) == []
    looked = reader.types("backup.py verify")
    assert looked.count("ok     ") == 2 and "nothing is old" in looked
    reader.types("wal_archive.py")
    server.stop()
    server.start()
    archived = reader.types("backup.py base")
    assert "base" in archived and "failed_count" in archived
    assert server.execute("SELECT failed_count FROM pg_stat_archiver") == [(0,)]
    assert all(path.name.endswith(".age") for path in Path(places["WAL"]).glob("0000*"))


def bring_back(reader: Reader, new) -> None:
    assert "Writes are stopped" in reader.types("restore.py pitr")
    new.start()
    new.execute("CREATE DATABASE restored TEMPLATE template0")
    assert "snapshot of 1 keys put back" in reader.types("restore.py dump")
    told = reader.types("after_restore.py", fine=(1,))
    assert "LOST deposits: 1." in told
    assert " 0 findings" in reader.types("reconcile.py")


def pay(url: str, filled: stock.Stock, place: Path) -> str:
    with stock.service(url, place):
        asked = world.asks(filled.merchant, 1_00)
        db.in_unit(lambda: payments.confirm(asked.id, filled.customer))
    return str(asked.id)


def paid_in(server, name: str) -> set[str]:
    return {
        row[0] for row in server.execute("SELECT id FROM payments WHERE status = 'succeeded'", name)
    }


def line_of_a_lost_deposit() -> str:
    told = {
        "time": clock.to_rfc3339(clock.now()), "message": "request", "method": "POST",
        "route": "/internal/deposits", "status": 201, "caller": "service:taxi",
        "request_id": "rid_gone",
    }  # fmt: skip
    return json.dumps(told) + "\n"


def test_make_restore_drill_runs_the_script_that_the_drills_test_runs(tmp_path):
    assert recipe(DRILL.removeprefix("make "), tmp_path) == [
        "ops/dev/servers.sh",
        ".venv/bin/python scripts/restore_drill.py",
    ]
    short = (ROOT / "tests" / "backups" / "test_drill.py").read_text()
    assert '"scripts/restore_drill.py"' in short


def test_it_documents_the_options_that_there_are():
    """An option named in prose exists; it would be found out at 3 a.m. otherwise."""
    scripts = ("backup", "restore", "after_restore", "wal_archive", "restore_drill")
    code = "".join((ROOT / "scripts" / f"{name}.py").read_text() for name in scripts)
    known = {"--data", "--set", "--template"} | set(re.findall(r'"(--[a-z-]+)"', code))
    assert set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", README)) <= known
