"""A backup is whole, encrypted and checked, or it is not there."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from payments import clock, db
from payments.operations import read_only
from scripts import backup
from scripts.backups import folder, making, programs, stores
from tests.backups import stock
from tests.children import ROOT, plain_environ, wait_until


def ids_in(place: Path) -> list[str]:
    return [each.manifest.id for each in folder.every(place)]


@pytest.fixture
def create(postgres, redis_url, redis_client, stocked, keys, tmp_path):
    """`create("--plain")`: a backup of the stocked stores."""
    redis_client.config_set("repl-diskless-sync-delay", 0)  # it waits 5 s for more replicas

    def made(*more: object, how=("--recipients", keys.recipients), **variables: str) -> stock.Ran:
        given = {"DB_URL": postgres, "REDIS_URL": redis_url, **variables}
        return stock.run(backup.main, "create", "--dir", tmp_path / "to", *how, *more, **given)

    return made


def test_a_backup_says_what_is_in_it_and_is_good(create, keys, stocked, tmp_path, redis_client):
    redis_client.set("kept", "here")
    before = clock.now()
    made = create("--json")
    assert (made.code, made.json["kind"]) == (0, "dump")
    assert before <= clock.parse_rfc3339(made.json["data_until"]) <= clock.now()
    assert made.json["schema_revision"] == max(
        path.stem for path in (ROOT / "migrations" / "versions").glob("*.py")
    )
    assert made.json["server_version"] >= 150000
    assert [each["what"] for each in made.json["files"]] == ["database", "redis"]
    place = tmp_path / "to"
    for arguments in ((), ("--identity", keys.identity)):
        good = stock.run(backup.main, "verify", "--dir", place, *arguments)
        assert (good.code, good.err) == (0, ""), good.out
    assert good.out == f"ok     {made.json['id']} (every byte read)\n"


def test_what_lies_there_is_readable_by_nobody_without_the_identity(create, keys, tmp_path):
    create()
    (found,) = folder.every(tmp_path / "to")
    for each in found.manifest.files:
        lies = (found.path / each.name).read_bytes()
        assert lies.startswith(b"age-encryption.org/v1")
        assert (found.path / each.name).stat().st_mode & 0o077 == 0
    other = stock.new_keys(tmp_path / "other")
    read = stock.run(backup.main, "verify", "--dir", tmp_path / "to", "--identity", other.identity)
    assert read.code == 1
    assert "no identity matched" in read.out


def test_to_encrypt_or_not_is_never_left_open(create, tmp_path):
    with pytest.raises(SystemExit) as refused:
        create(how=())
    assert refused.value.code == 2
    assert create(how=("--plain",)).code == 0
    (found,) = folder.every(tmp_path / "to")
    assert (found.path / "database.dump").read_bytes().startswith(b"PGDMP")


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "manifest"])
def test_a_harmed_backup_is_found(create, tmp_path, harm):
    create()
    (found,) = folder.every(tmp_path / "to")
    path = found.path / "database.dump.age"
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "remove":
        path.unlink()
    else:
        (found.path / "manifest.json").write_text("{")
    told = stock.run(backup.main, "verify", "--dir", tmp_path / "to")
    assert told.code == (3 if harm == "manifest" else 1)
    assert ("is no backup" in told.err) if harm == "manifest" else told.out.startswith("BROKEN")


def test_a_dump_that_fails_leaves_nothing_and_says_why(create, tmp_path, postgres, monkeypatch):
    real = programs.of_postgres("pg_dump", 15)
    broken = tmp_path / "pg_dump"
    # The first half of a dump, and then a fault: a short file that age is content with.
    broken.write_text(f'#!/bin/sh\n{real} "$@" | head -c 2000\necho lost it >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setattr(programs, "of_postgres", lambda name, server: str(broken))
    failed = create()
    assert (failed.code, failed.out) == (3, "")
    assert "pg_dump failed (1)" in failed.err and "lost it" in failed.err
    assert list((tmp_path / "to").iterdir()) == []


def test_a_failed_upload_is_a_failure_and_no_success_is_noted(create, tmp_path, postgres):
    failed = create("--upload", "false")
    assert failed.code == 3
    assert "lies here but not there: the upload ended with 1" in failed.err
    assert not (tmp_path / "to" / "last_success.json").exists()
    assert stock.run(backup.main, "verify", "--dir", tmp_path / "to").code == 0
    there = tmp_path / "there"
    there.mkdir()
    assert create("--upload", f"cp -rt {there}").code == 0
    (newest,) = [folder.read(path) for path in there.iterdir()]
    assert folder.damage(newest) == []
    missing = create("--upload", "no-such-program")
    assert missing.code == 3 and "No such file" in missing.err


def test_its_success_is_noted_beside_it(create, tmp_path):
    made = create("--json").json
    told = json.loads((tmp_path / "to" / "last_success.json").read_text())
    assert (told["backup"], told["data_until"]) == (made["id"], made["data_until"])
    *_, line = (tmp_path / "to" / "payments_backup.prom").read_text().splitlines()
    name, value = line.split()
    assert name == "payments_backup_last_success_timestamp_seconds"
    assert float(value) == pytest.approx(
        clock.parse_rfc3339(made["data_until"]).timestamp(), abs=0.001
    )


NOTED = (
    "CREATE TABLE IF NOT EXISTS last_successes (name text PRIMARY KEY, succeeded_at timestamptz,"
    " finished_at timestamptz NOT NULL, findings integer NOT NULL, detail_json text NOT NULL)"
)


def test_its_success_is_noted_in_the_database(create, postgres):
    with stores.database({"DB_URL": postgres}).connect() as connection:
        connection.execute(NOTED)
    create()
    made = create("--json").json
    ((at, detail),) = stock.rows(
        postgres, "SELECT succeeded_at, detail_json FROM last_successes WHERE name = 'backup'"
    )
    assert clock.to_rfc3339(at) == made["data_until"]
    assert json.loads(detail)["backup"] == made["id"]


def test_a_backup_can_be_made_while_writes_are_stopped(create, postgres):
    with stores.database({"DB_URL": postgres}).connect() as connection:
        connection.execute(
            "INSERT INTO runtime_settings (name, value_json, version, updated_by, updated_at)"
            " VALUES ('read_only', '{}', 1, 'tests', now())"
        )
    assert create().code == 0


def test_stopping_writes_does_not_wait_for_a_backup(postgres, tmp_path):
    database = stores.database({"DB_URL": postgres})
    with stock.service(postgres, tmp_path):
        with making._snapshot(database):
            assert read_only.still_writing(db.now()) == []
            with database.connect() as other, other.transaction():
                other.execute("SELECT 1")  # anybody else is waited for
                assert read_only.still_writing(db.now()) == [""]


def test_the_password_stands_on_no_command_line_and_in_no_message(postgres, tmp_path):
    variables = {
        "DB_URL": "postgres://pay:hunter2@127.0.0.1:1/pay?sslmode=disable",
        "REDIS_URL": "rediss://ann:s3cret@127.0.0.1:6380/4",
    }
    database, redis = stores.database(variables), stores.redis(variables)
    assert database.environ["PGPASSWORD"] == "hunter2"
    assert redis is not None and redis.number == 4
    arguments, environ = redis.command_line()
    assert (environ, "s3cret" in " ".join(arguments)) == ({"REDISCLI_AUTH": "s3cret"}, False)
    assert arguments[:5] == ["-h", "127.0.0.1", "-p", "6380", "--tls"]
    told = stock.run(backup.main, "create", "--dir", tmp_path / "to", "--plain", **variables)
    assert told.code == 3 and "can't be used" in told.err
    assert "hunter2" not in told.err
    odd = stock.run(
        backup.main, "create", "--dir", tmp_path, "--plain", DB_URL="postgres://u:hunter2@h:x y/d"
    )
    assert odd.code == 3 and "hunter2" not in odd.err


@pytest.mark.parametrize(
    ("url", "why"),
    [("", "is not set"), ("sqlite:///x.db", "not Postgres's"), ("postgres://h", "no database")],
)
def test_what_can_not_be_backed_up_is_refused(url, why, tmp_path):
    told = stock.run(backup.main, "create", "--dir", tmp_path, "--plain", DB_URL=url)
    assert (told.code, why in told.err) == (3, True)


def test_the_list_is_newest_first_and_says_when_the_newest_is_old(create, tmp_path, monkeypatch):
    place = tmp_path / "to"
    assert stock.run(backup.main, "list", "--dir", place, "--max-age", 1).code == 1
    made = [create("--json").json["id"] for _ in range(2)]
    listed = stock.run(backup.main, "list", "--dir", place, "--max-age", 1, "--json")
    assert listed.code == 0
    assert [each["id"] for each in listed.json["data"]] == sorted(made, reverse=True)
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert stock.run(backup.main, "list", "--dir", place, "--max-age", 1).code == 1


def aged(place: Path, name: str, kind: str, days: int, *, good: bool = True) -> str:
    """A backup of so many days ago, made by hand."""
    path = place / name
    path.mkdir(parents=True)
    (path / "database.dump").write_bytes(b"PGDMP")
    until = clock.to_rfc3339(clock.now() - timedelta(days=days))
    file = folder.described(path / "database.dump", "database", False)
    folder.write(
        path,
        folder.Manifest(
            name, kind, until, until, until, 150000, "0002", "0/0", f"{8 - days:024X}",
            files=[file],
        ),
    )  # fmt: skip
    if not good:
        (path / "database.dump").write_bytes(b"xxxxx")
    return name


def prune(place: Path, *more: object) -> stock.Ran:
    return stock.run(
        backup.main, "prune", "--dir", place, "--keep-last", 1, "--keep-days", 2, *more, "--json"
    )


def test_retention_deletes_what_is_old_and_keeps_the_newest(tmp_path):
    for days in (1, 3, 5):
        aged(tmp_path, f"2026010{6 - days}T000000Z-dump-aaaa", "dump", days)
    assert len(prune(tmp_path, "--dry-run").json["deleted"]) == 2
    assert len(ids_in(tmp_path)) == 3
    assert len(prune(tmp_path).json["deleted"]) == 2
    assert ids_in(tmp_path) == ["20260105T000000Z-dump-aaaa"]


def test_retention_never_deletes_the_newest_good_one(tmp_path):
    good = aged(tmp_path, "20260101T000000Z-dump-aaaa", "dump", 7)
    aged(tmp_path, "20260102T000000Z-dump-aaaa", "dump", 6, good=False)
    newest = aged(tmp_path, "20260103T000000Z-dump-aaaa", "dump", 5, good=False)
    prune(tmp_path)
    assert ids_in(tmp_path) == [newest, good]


def test_retention_deletes_nothing_where_nothing_is_good(tmp_path):
    for day in (1, 2):
        aged(tmp_path, f"2026010{day}T000000Z-dump-aaaa", "dump", 7 - day, good=False)
    assert prune(tmp_path).json["deleted"] == []


def test_wal_goes_with_the_oldest_base_that_needs_it(tmp_path):
    place, archive = tmp_path / "to", tmp_path / "wal"
    archive.mkdir()
    for number in range(1, 9):
        (archive / f"{number:024X}-{'0' * 64}.age").touch()
    (archive / f"00000002.history-{'0' * 64}").touch()
    aged(place, "20260101T000000Z-base-aaaa", "base", 5)
    aged(place, "20260104T000000Z-base-aaaa", "base", 1)
    assert prune(place, "--wal", archive).json["wal_deleted"] == 6
    left = sorted(path.name.partition("-")[0] for path in archive.iterdir())
    assert left == [f"{7:024X}", f"{8:024X}", "00000002.history"]


def test_what_a_killed_run_left_is_swept_after_a_day_and_never_listed(tmp_path):
    left = tmp_path / ".partial-20260101T000000Z-dump-aaaa"
    left.mkdir()
    aged(tmp_path, "20260102T000000Z-dump-aaaa", "dump", 1)
    prune(tmp_path)
    assert left.exists() and len(ids_in(tmp_path)) == 1
    old = time.time() - 2 * 86_400
    os.utime(left, (old, old))
    prune(tmp_path)
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_nothing_half_made(stocked, postgres, tmp_path, number):
    slow = tmp_path / "bin" / "redis-cli"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nprintf REDIS\nexec sleep 60\n")
    slow.chmod(0o755)
    environ = plain_environ(tmp_path)
    environ |= {"DB_URL": postgres, "REDIS_URL": "redis://127.0.0.1:1"}
    environ["PATH"] = f"{slow.parent}:{environ['PATH']}"
    command = [sys.executable, "scripts/backup.py", "create", "--dir", tmp_path / "to", "--plain"]
    with subprocess.Popen(command, env=environ, cwd=ROOT, stderr=subprocess.PIPE) as run:
        wait_until(lambda: list(tmp_path.glob("to/.partial-*/redis.rdb")), "the snapshot to begin")
        run.send_signal(number)
        _, said = run.communicate(timeout=20)
    assert (run.returncode, said) == (130, b"backup create: stopped, nothing was kept\n")
    assert list((tmp_path / "to").iterdir()) == []
