"""Is a backup good? Its bytes are those that were written, it decrypts, and it can be read."""

import subprocess
from pathlib import Path

from scripts.backups import age, folder, programs
from scripts.backups.folder import Backup, File
from scripts.backups.programs import Failed

REDIS_MAGIC = b"REDIS"


def findings(backup: Backup, identity: Path | None) -> list[str]:
    """What is wrong with it, a line each. identity: None checks the checksums alone."""
    found = folder.damage(backup)
    if found or (identity is None and any(each.encrypted for each in backup.manifest.files)):
        return found
    for each in backup.manifest.files:
        try:
            _read_through(backup, each, identity)
        except Failed as fault:
            found.append(f"{each.name} can't be read: {fault}")
    return found


def decrypted(backup: Backup, what: str, identity: Path | None, into: Path) -> Path:
    """The readable file of that kind, in a folder that the caller takes away. Raises Failed.

    What is not encrypted is not copied.
    """
    each = backup.manifest.file(what)
    source = backup.path / each.name
    if not each.encrypted:
        return source
    path = into / each.name.removesuffix(age.SUFFIX)
    with source.open("rb") as sealed:
        programs.into_file([age.decrypting(identity)], path, source=sealed)
    return path


def _read_through(backup: Backup, each: File, identity: Path | None) -> None:
    """Decrypt all of it and let the program that would restore it read it."""
    commands = [age.decrypting(identity)] if each.encrypted else []
    if each.what == "database":
        program = programs.of_postgres("pg_restore", backup.manifest.server_version // 10_000)
        # To SQL and nowhere: that reads every row, where a list reads the contents' table alone.
        commands.append([program, "--file=-"])
    elif each.what == "base":
        commands.append(["tar", "--list", "--gzip", "--file=-"])
    else:
        commands.append(["head", "--bytes=5"])
        return _is_redis(backup.path / each.name, commands)
    with (backup.path / each.name).open("rb") as source:
        programs.pipe(commands, source=source)
    return None


def _is_redis(path: Path, commands: list[list[str]]) -> None:
    with path.open("rb") as source:
        if len(commands) == 1:
            head = source.read(len(REDIS_MAGIC))
        else:
            with subprocess.Popen(commands[0], stdin=source, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as one:  # fmt: skip
                out, said = one.communicate()
            if one.returncode != 0:
                raise Failed(" ".join(said.decode(errors="replace").split()))
            head = out[: len(REDIS_MAGIC)]
    if head != REDIS_MAGIC:
        raise Failed("it is no snapshot of Redis")
