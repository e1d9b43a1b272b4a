"""Recover a whole cluster to a moment of its past: a base backup, then archived WAL.

The recovered cluster is first started on a socket of its own, where nobody else finds it; writes
are stopped in the service's database, and it is shut down again. So whoever starts it for real
starts one that takes no writes.
"""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from payments import clock
from payments.operations.restoring import Restored
from scripts.backups import age, folder, programs, restoring, wal
from scripts.backups.folder import Backup
from scripts.backups.programs import Failed

RECOVERED_WITHIN = timedelta(hours=12)
STOPPED_WITHIN_S = 300.0
LOOK_S = 0.1
WAL_ARCHIVE = Path(__file__).resolve().parents[1] / "wal_archive.py"
TOLD_AT_MOST = 1_500


@dataclass(frozen=True)
class Plan:
    """What to recover, from where, into which new data folder, and how far.

    user: a superuser of the cluster. os_user: who runs Postgres, where this runs as root.
    """

    backup: Backup
    archive: Path
    data: Path
    database: str
    user: str
    os_user: str | None
    identity: Path | None
    to_time: datetime | None

    @property
    def runs_as(self) -> str | None:
        """Whom Postgres runs as; None: whoever runs this."""
        return (self.os_user or "postgres") if os.geteuid() == 0 else None


def recover(plan: Plan) -> Restored:
    """Make the data folder, recover it, stop writes in it; what it now is. Raises Failed."""
    if plan.data.exists() and any(plan.data.iterdir()):
        raise Failed(f"{plan.data} is not empty: recover into a new folder")
    if plan.to_time is not None and plan.to_time < clock.parse_rfc3339(
        plan.backup.manifest.ended_at
    ):
        raise Failed(f"the base ends at {plan.backup.manifest.ended_at}: take an earlier one")
    faults = folder.damage(plan.backup)
    if faults:
        raise Failed(f"backup {plan.backup.manifest.id} is not good: {'; '.join(faults)}")
    try:
        return _recovered(plan)
    except BaseException as fault:
        # It may be recovered and take writes: nobody starts it under this name.
        half = plan.data.with_name(f"{plan.data.name}.half-restored-{os.getpid()}")
        try:
            plan.data.rename(half)
        except OSError as stuck:  # a mount, for one
            raise Failed(f"{fault}. Remove {plan.data}, never start it: {stuck}") from fault
        raise


def _recovered(plan: Plan) -> Restored:
    _unpack(plan)
    with tempfile.TemporaryDirectory(prefix="payments-recover-") as private:
        meeting = Path(private)
        if plan.runs_as is not None:
            shutil.chown(meeting, plan.runs_as)
        with _started(plan, meeting) as server:
            return _close_for_writes(plan, meeting, server)


def _unpack(plan: Plan) -> None:
    plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan.data.chmod(0o700)
    each = plan.backup.manifest.file("base")
    commands = [age.decrypting(plan.identity)] if each.encrypted else []
    commands.append(["tar", "--extract", "--gzip", "--file=-", f"--directory={plan.data}"])
    with (plan.backup.path / each.name).open("rb") as source:
        programs.pipe(commands, source=source)
    (plan.data / "recovery.signal").touch()
    if plan.runs_as is not None:
        programs.run(["chown", "-R", plan.runs_as, str(plan.data)])


def _options(plan: Plan, meeting: Path) -> dict[str, str]:
    """Above whatever the cluster's own files say: nobody finds it, and it archives nothing."""
    keys = f" --identity {shlex.quote(str(_readable(plan, meeting)))}" if plan.identity else ""
    script = _own_copy(plan, meeting)
    options = {
        "config_file": str(meeting / "postgresql.conf"),
        "hba_file": str(meeting / "pg_hba.conf"),
        "ident_file": str(meeting / "pg_ident.conf"),
        "listen_addresses": "",
        "unix_socket_directories": str(meeting),
        "archive_mode": "off",
        "hot_standby": "off",  # nobody reads before it is recovered
        "logging_collector": "off",
        "log_destination": "stderr",
        "restore_command": f'{script} get "%f" "%p" --dir {shlex.quote(str(plan.archive))}{keys}',
        "recovery_target_timeline": "latest",
        "recovery_target_action": "promote",
    }
    if plan.to_time is not None:
        options["recovery_target_time"] = plan.to_time.astimezone(UTC).isoformat()
    return options


def _own_copy(plan: Plan, meeting: Path) -> str:
    """The restore_command's program, where Postgres's user can read it."""
    script = meeting / "wal_archive.py"
    shutil.copyfile(WAL_ARCHIVE, script)
    _give(plan, script, 0o500)
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    return f"{shlex.quote(python)} -I {shlex.quote(str(script))}"


def _readable(plan: Plan, meeting: Path) -> Path:
    """The identity where Postgres's user can read it, for as long as this runs."""
    assert plan.identity is not None  # noqa: S101 (asked by the caller)
    copy = meeting / "identity"
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(descriptor, "wb") as out:
        out.write(plan.identity.read_bytes())
    _give(plan, copy, 0o400)
    return copy


def _give(plan: Plan, path: Path, mode: int) -> None:
    path.chmod(mode)
    if plan.runs_as is not None:
        shutil.chown(path, plan.runs_as)


@contextmanager
def _started(plan: Plan, meeting: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Postgres on the data folder; shut down in order at the end."""
    (meeting / "postgresql.conf").write_text("")
    (meeting / "pg_ident.conf").write_text("")
    (meeting / "pg_hba.conf").write_text("local all all trust\n")
    for name in ("postgresql.conf", "pg_ident.conf", "pg_hba.conf"):
        _give(plan, meeting / name, 0o400)
    program = programs.of_postgres("postgres", plan.backup.manifest.server_version // 10_000)
    command = [program, "-D", str(plan.data)]
    for name, value in _options(plan, meeting).items():
        command += ["-c", f"{name}={value}"]
    with (meeting / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=plan.data.parent, user=plan.runs_as,
            group=_group(plan.runs_as), extra_groups=[] if plan.runs_as else None,
            env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
        )  # fmt: skip
    try:
        yield server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)  # fast: sessions are ended, everything is written
            server.wait(STOPPED_WITHIN_S)


def _group(name: str | None) -> int | None:
    return None if name is None else pwd.getpwnam(name).pw_gid


def _close_for_writes(plan: Plan, meeting: Path, server: subprocess.Popen[bytes]) -> Restored:
    address = psycopg.conninfo.make_conninfo(
        "", host=str(meeting), user=plan.user, dbname=plan.database, connect_timeout=5
    )
    _wait(address, server, meeting / "log")
    with psycopg.connect(address, autocommit=True) as connection:
        last = _one(connection, "SELECT pg_last_xact_replay_timestamp()")
        _refuse_short(plan, str(_one(connection, "SELECT pg_last_wal_replay_lsn()")), meeting)
        now = clock.now()
        # Replayed in order, so all that was committed by then is there; the base itself is whole.
        until = max(clock.aware(last), plan.backup.manifest.until) if last else None
        restored = Restored(
            id=f"{plan.backup.manifest.id}@{clock.to_rfc3339(now)}",
            backup=plan.backup.manifest.id,
            data_until=until or plan.backup.manifest.until,
            restored_at=now,
            epoch=None,
        )
        restoring.stop_writes(connection, restored)
    return restored


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it is recovered and promoted. Raises Failed with what Postgres said."""
    deadline = time.monotonic() + RECOVERED_WITHIN.total_seconds()
    while True:
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                if not _one(connection, "SELECT pg_is_in_recovery()"):
                    return
        except psycopg.OperationalError as fault:
            if server.poll() is not None:
                raise Failed(f"the recovery failed: {_said(log)}") from fault
            if "does not exist" in str(fault):
                raise Failed(f"the cluster is recovered, but {fault}") from fault
            if time.monotonic() > deadline:
                raise Failed(f"not recovered within {RECOVERED_WITHIN}: {_said(log)}") from fault
        time.sleep(LOOK_S)


def _refuse_short(plan: Plan, replayed: str, meeting: Path) -> None:
    """Without a time to stop at, recovery must have come into the newest segment of the archive."""
    kept = sorted(wal.segments(plan.archive), key=lambda name: name[8:])
    if plan.to_time is not None or not kept:
        return
    newest = kept[-1]
    start = (int(newest[8:16], 16) << 32) | (int(newest[16:], 16) * wal.SEGMENT_BYTES)
    high, low = replayed.split("/")
    if (int(high, 16) << 32 | int(low, 16)) < start:
        raise Failed(
            f"recovery ended at {replayed}, before {newest}, the archive's newest segment:"
            f" {_said(meeting / 'log')}"
        )


def _said(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    telling = [
        line for line in lines if any(w in line for w in ("FATAL", "PANIC", "ERROR", "get "))
    ]
    return " ".join(" ".join(telling or lines).split())[-TOLD_AT_MOST:]


def _one(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return None if row is None else row[0]
