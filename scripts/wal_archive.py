#!/usr/bin/env python3
"""Keep a segment of Postgres's write-ahead log, or give one back: archive_command, restore_command.

It stands alone, on Python's own library: Postgres runs it as its own user, on a machine where
nothing else of this repository has to be. A segment is kept under its name and the SHA-256 of what
is in it, written beside, synced, then given its name; the same one again changes nothing, another
one under a name that is taken is refused. With recipients it is encrypted by `age`.

  archive_command = 'wal_archive.py put "%p" "%f" --dir /backup/wal --recipients FILE'
  restore_command = 'wal_archive.py get "%f" "%p" --dir /backup/wal --identity FILE'
"""

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

KEPT, NOT_THERE, NOT_KEPT, BROKEN = 0, 1, 3, 255
EXITS = """\
exit codes:
  0    kept, or given back
  1    get: it is not in the archive, which ends a recovery
  2    usage
  3    put: not kept, and Postgres will try again
  255  get: it is there and can't be given back; a recovery stops instead of ending too early"""
SEGMENT = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")
CHUNK = 1 << 20


class Fault(Exception):
    """It could not be done; the text says why."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXITS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    put = commands.add_parser("put", help="keep a segment: archive_command")
    put.add_argument("source", type=Path, help="%%p")
    put.add_argument("name", type=_segment, help="%%f")
    put.add_argument("--recipients", type=Path, metavar="FILE", help="encrypt with age")
    put.add_argument("--upload", metavar="COMMAND", help="run with the kept file; must exit 0")
    get = commands.add_parser("get", help="give a segment back: restore_command")
    get.add_argument("name", type=_segment, help="%%f")
    get.add_argument("target", type=Path, help="%%p")
    get.add_argument("--identity", type=Path, metavar="FILE", help="decrypt with age")
    for one in (put, get):
        one.add_argument("--dir", type=Path, required=True, help="the archive")
    return parser.parse_args(argv)


def _segment(text: str) -> str:
    if not SEGMENT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a segment")
    return text


def put(source: Path, name: str, archive: Path, recipients: Path | None) -> Path:
    """Keep it, safely on the disk; where it lies. Raises Fault."""
    with source.open("rb") as plain:
        digest = hashlib.sha256()
        while piece := plain.read(CHUNK):
            digest.update(piece)
        kept = _kept(archive, name)
        if kept is not None:
            if _digest_in(kept) != digest.hexdigest():
                raise Fault(f"{kept.name} is in the archive already, and is not the same")
            return kept
        target = archive / f"{name}-{digest.hexdigest()}{'.age' if recipients else ''}"
        partial = archive / f".partial-{name}-{os.getpid()}"
        plain.seek(0)
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            with open(descriptor, "wb") as out:
                if recipients is not None:
                    _age(["--encrypt", "--recipients-file", str(recipients)], plain, out)
                else:
                    while piece := plain.read(CHUNK):
                        out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
    _sync(archive)
    return target


def get(name: str, target: Path, archive: Path, identity: Path | None) -> bool:
    """Write it to the target; False where it is not in the archive. Raises Fault."""
    kept = _kept(archive, name)
    if kept is None:
        return False
    encrypted = kept.name.endswith(".age")
    if encrypted and identity is None:
        raise Fault(f"{kept.name} is encrypted: give --identity FILE")
    with kept.open("rb") as source, target.open("wb") as out:
        if encrypted:
            _age(["--decrypt", "--identity", str(identity)], source, out)
        else:
            while piece := source.read(CHUNK):
                out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    if digest != _digest_in(kept):
        target.unlink()
        raise Fault(f"{kept.name} is not what was kept: its checksum differs")
    return True


def _kept(archive: Path, name: str) -> Path | None:
    """The file of that segment. Raises Fault where the archive is gone: not the same as empty."""
    if not archive.is_dir():
        raise Fault(f"there is no archive at {archive}")
    shape = re.compile(re.escape(name) + r"-[0-9a-f]{64}(\.age)?")
    found = [path for path in archive.iterdir() if shape.fullmatch(path.name)]
    if len(found) > 1:
        raise Fault(f"{name} is in the archive {len(found)} times")
    return found[0] if found else None


def _digest_in(kept: Path) -> str:
    return kept.name.removesuffix(".age").rpartition("-")[2]


def _age(arguments: list[str], source: IO[bytes], out: IO[bytes]) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            ["age", *arguments], stdin=source, stdout=out, stderr=subprocess.PIPE, check=False
        )
    except OSError as fault:
        raise Fault(f"age can't be run: {fault.strerror}") from fault
    if done.returncode != 0:
        raise Fault(f"age: {' '.join(done.stderr.decode(errors='replace').split())}")


def _upload(command: str, kept: Path) -> None:
    done = subprocess.run([*shlex.split(command), str(kept)], stdout=2, check=False)
    if done.returncode != 0:
        raise Fault(f"{kept.name} lies here but not there: the upload ended with {done.returncode}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0: kept, or given back. 1: it is not there. 2: usage. 3: not kept. 255: broken."""
    args = _arguments(argv)
    try:
        if args.command == "get":
            found = get(args.name, args.target, args.dir, args.identity)
            return KEPT if found else NOT_THERE
        kept = put(args.source, args.name, args.dir, args.recipients)
        if args.upload:  # again, where Postgres asks again: it may have failed the first time
            _upload(args.upload, kept)
    except (Fault, OSError) as fault:
        sys.stderr.write(f"wal_archive {args.command} {args.name}: {fault}\n")
        return BROKEN if args.command == "get" else NOT_KEPT
    return KEPT


if __name__ == "__main__":
    sys.exit(main())
