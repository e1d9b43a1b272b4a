"""The archive of write-ahead log: what `wal_archive.py` keeps, as backup and restore look at it.

A segment lies there as `<its name>-<sha256 of what is in it>`, with `.age` where it is encrypted.
"""

import re
from pathlib import Path

NAME = re.compile(r"([0-9A-F]{24})-([0-9a-f]{64})(\.age)?")
SEGMENT_BYTES = 16 * 1024 * 1024
"""As Postgres is built; `initdb --wal-segsize` is not provided for."""


def segments(archive: Path) -> dict[str, Path]:
    """By its name, each whole segment; files of history and of labels are none."""
    found = {}
    for path in archive.iterdir():
        named = NAME.fullmatch(path.name)
        if named:
            found[named.group(1)] = path
    return found


def before(archive: Path, first: str) -> list[Path]:
    """The segments that no recovery needs which begins with this one, on whichever timeline."""
    return [path for name, path in sorted(segments(archive).items()) if name[8:] < first[8:]]
