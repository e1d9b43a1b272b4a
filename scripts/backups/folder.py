"""A folder of backups: one sub-folder each, whole or not there; its manifest says what is in it.

A backup is made under a name that begins with `.partial-`, each file safely on the disk, and gets
its own name last. So what can be listed was finished, and its checksums say whether it still is.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from payments import clock
from scripts.backups.programs import Failed

FORMAT = 1
MANIFEST = "manifest.json"
PARTIAL = ".partial-"
PARTIAL_KEPT = timedelta(days=1)
"""A backup that was killed lies about this long; none runs longer."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of a backup. what: `database`, `redis`, `base`. sha256: of the bytes as they lie."""

    name: str
    what: str
    bytes: int
    sha256: str
    encrypted: bool


@dataclass(frozen=True)
class Manifest:
    """What a backup is. kind: `dump` or `base`.

    data_until: whatever was committed before that moment is in it. wal_file: the oldest segment
    that a recovery from it may need. redis_number: the numbered database that was in use.
    """

    id: str
    kind: str
    started_at: str
    ended_at: str
    data_until: str
    server_version: int
    schema_revision: str | None
    wal_lsn: str
    wal_file: str | None
    redis_number: int | None = None
    files: list[File] = field(default_factory=list)
    format: int = FORMAT

    @property
    def until(self) -> datetime:
        """`data_until` as a time."""
        return clock.parse_rfc3339(self.data_until)

    def file(self, what: str) -> File:
        """Its file of that kind. Raises Failed."""
        for each in self.files:
            if each.what == what:
                return each
        raise Failed(f"backup {self.id} has no {what} in it")


@dataclass(frozen=True)
class Backup:
    """A finished backup in its folder."""

    path: Path
    manifest: Manifest


def new_id(kind: str, moment: datetime) -> str:
    """A name that sorts by time: `20260301T090000Z-dump-1f3a`."""
    return f"{clock.aware(moment):%Y%m%dT%H%M%SZ}-{kind}-{secrets.token_hex(2)}"


@contextmanager
def making(place: Path, backup_id: str) -> Iterator[Path]:
    """A folder to fill, which becomes the backup at the end, or is taken away where that fails."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = place / f"{PARTIAL}{backup_id}"
    partial.mkdir(mode=0o700)
    try:
        yield partial
        if not (partial / MANIFEST).is_file():
            raise Failed("a backup without a manifest is none")
        sync(partial)
        partial.rename(place / backup_id)
        sync(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def described(path: Path, what: str, encrypted: bool) -> File:
    """The file for the manifest, its checksum of what the disk gives back."""
    return File(path.name, what, path.stat().st_size, checksum(path), encrypted)


def write(folder: Path, manifest: Manifest) -> None:
    """Put the manifest beside its files."""
    text = json.dumps({"object": "backup", **asdict(manifest)}, indent=2)
    with (folder / MANIFEST).open("x") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())


def read(path: Path) -> Backup:
    """The backup in that folder. Raises Failed where there is none, or none that this can read."""
    try:
        told: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        if told.pop("object") != "backup" or told["format"] != FORMAT:
            raise Failed(f"{path} is of a format that this release does not know")
        files = [File(**each) for each in told.pop("files")]
        return Backup(path, Manifest(**told, files=files))
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise Failed(f"{path} is no backup: {fault}") from fault


def every(place: Path) -> list[Backup]:
    """All finished backups, the newest first; what is not one is left out."""
    found = []
    for path in sorted(place.glob("[0-9]*-*-*"), reverse=True):
        if (path / MANIFEST).is_file():
            found.append(read(path))
    return sorted(found, key=lambda each: each.manifest.id, reverse=True)


def chosen(place: Path, name: str, kind: str | None = None) -> Backup:
    """The backup of that id; `latest`: the newest (of the kind). Raises Failed."""
    if name != "latest":
        return read(place / Path(name).name)
    for each in every(place):
        if kind in (None, each.manifest.kind):
            return each
    raise Failed(f"there is no backup in {place}")


def damage(backup: Backup) -> list[str]:
    """What differs from the manifest, a line each; none: every byte is as it was written."""
    found = []
    for each in backup.manifest.files:
        path = backup.path / Path(each.name).name
        if not path.is_file():
            found.append(f"{each.name} is missing")
        elif path.stat().st_size != each.bytes:
            found.append(f"{each.name} has {path.stat().st_size} bytes, not {each.bytes}")
        elif checksum(path) != each.sha256:
            found.append(f"{each.name} is not what was written: its checksum differs")
    return found


def superfluous(place: Path, keep_last: int, keep: timedelta, now: datetime) -> list[Backup]:
    """The backups to delete: older than `keep`, beyond the newest so many of each kind.

    Never the newest good one of a kind, whatever was asked for.
    """
    before = clock.aware(now) - keep
    doomed: list[Backup] = []
    for kind in ("dump", "base"):
        of_kind = [each for each in every(place) if each.manifest.kind == kind]
        good = next((each for each in of_kind if not damage(each)), None)
        if good is not None:  # where nothing is whole, nothing is deleted
            old = [each for each in of_kind[keep_last:] if each.manifest.until < before]
            doomed += [each for each in old if each.path != good.path]
    return doomed


def delete(backup: Backup) -> None:
    """Take it away: first its name, so that half of it is never listed."""
    gone = backup.path.with_name(f"{PARTIAL}{backup.path.name}")
    backup.path.rename(gone)
    shutil.rmtree(gone)


def sweep(place: Path, now: datetime) -> None:
    """Take away what killed runs left."""
    before = (clock.aware(now) - PARTIAL_KEPT).timestamp()
    for path in place.glob(f"{PARTIAL}*"):
        if path.stat().st_mtime < before:
            shutil.rmtree(path, ignore_errors=True)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    found = hashlib.sha256()
    with path.open("rb") as source:
        while piece := source.read(CHUNK):
            found.update(piece)
    return found.hexdigest()


def sync(folder: Path) -> None:
    """The names in a folder are on the disk once this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
