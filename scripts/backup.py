"""Back up the database and Redis, and look after the backups that there are.

`create` dumps the database of DB_URL with the Redis of REDIS_URL; `base` copies the whole cluster,
from which archived WAL recovers any later moment. Both encrypt for the recipients on the way, so
this machine can't read what it has made. A backup is whole or not there. No other setting is read.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import _root
from payments import clock
from scripts.backups import checking, folder, making, stores, success, wal
from scripts.backups.folder import Backup
from scripts.backups.programs import Failed

FINE, FOUND, NOT_RUN, STOPPED = 0, 1, 3, 130
EXITS = """\
exit codes:
  0    fine
  1    found something: a backup that is not good, or older than --max-age
  2    usage
  3    could not run, or not upload; stderr says why
  130  stopped; nothing half-made is left"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXITS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", type=Path, required=True, help="the folder of backups")
    shared.add_argument("--json", action="store_true", help="one JSON document on stdout")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("create", "a dump of the database, with Redis's snapshot"),
        ("base", "a copy of the whole cluster, to recover from with archived WAL"),
    ):
        one = commands.add_parser(name, parents=[shared], help=about, description=about)
        how = one.add_mutually_exclusive_group(required=True)
        how.add_argument("--recipients", type=Path, metavar="FILE", help="age recipients")
        how.add_argument("--plain", action="store_true", help="do not encrypt")
        one.add_argument(
            "--upload",
            metavar="COMMAND",
            help="run with the backup's folder as last argument; it must exit 0",
        )
    commands.choices["create"].add_argument(
        "--without-redis", action="store_true", help="leave Redis out, whatever REDIS_URL says"
    )
    verify = commands.add_parser("verify", parents=[shared], help="are they still good?")
    verify.add_argument("backup", nargs="?", default="latest", help="an id, `latest` or `all`")
    verify.add_argument("--identity", type=Path, metavar="FILE", help="decrypt and read all of it")
    listed = commands.add_parser("list", parents=[shared], help="what there is, newest first")
    listed.add_argument(
        "--max-age", type=_hours, metavar="HOURS", help="exit 1 when the newest is older"
    )
    prune = commands.add_parser("prune", parents=[shared], help="delete what is old")
    prune.add_argument("--keep-last", type=_count, default=7, metavar="N", help="of each kind (7)")
    prune.add_argument("--keep-days", type=_days, default=_days("35"), metavar="DAYS", help="(35)")
    prune.add_argument("--wal", type=Path, metavar="DIR", help="and WAL that no base needs")
    prune.add_argument("--dry-run", action="store_true", help="say it, delete nothing")
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def _days(text: str) -> timedelta:
    return timedelta(days=_count(text))


def _hours(text: str) -> timedelta:
    return timedelta(hours=_count(text))


def make(args: argparse.Namespace) -> int:
    """Make one, upload it, and note the success of both."""
    variables = stores.of_process()
    database = stores.database(variables)
    if args.command == "base":
        made = making.base(database, args.dir, args.recipients)
    else:
        redis = None if args.without_redis else stores.redis(variables)
        made = making.dump(database, redis, args.dir, args.recipients)
    if args.upload:
        _upload(shlex.split(args.upload), made)
    untold = success.note(made.manifest, args.dir, database)
    if untold is not None:
        _say(f"backup made, but the database does not say so: {untold}")
    _show(args, _facts(made), _line(made))
    return FINE


def _upload(command: list[str], made: Backup) -> None:
    try:
        done = subprocess.run([*command, str(made.path)], stdout=2, check=False)
    except OSError as fault:
        raise Failed(f"{made.manifest.id} lies here but not there: {fault}") from fault
    if done.returncode != 0:
        raise Failed(
            f"{made.manifest.id} lies here but not there: the upload ended with {done.returncode}"
        )


def verify(args: argparse.Namespace) -> int:
    """Exit 1 where one of them is not good."""
    if args.backup == "all":
        chosen = folder.every(args.dir)
        if not chosen:
            raise Failed(f"there is no backup in {args.dir}")
    else:
        chosen = [folder.chosen(args.dir, args.backup)]
    found = {each.manifest.id: checking.findings(each, args.identity) for each in chosen}
    read = "every byte read" if args.identity else "checksums"
    lines = [
        f"{'ok    ' if not faults else 'BROKEN'} {name} ({read})"
        + "".join(f"\n       {f}" for f in faults)
        for name, faults in found.items()
    ]
    _show(args, {"object": "verification", "findings": found}, "\n".join(lines))
    return FOUND if any(found.values()) else FINE


def show_list(args: argparse.Namespace) -> int:
    """Exit 1 where there is none, or the newest is older than asked for."""
    every = folder.every(args.dir)
    _show(
        args,
        {"object": "list", "data": [_facts(each) for each in every]},
        "\n".join(_line(each) for each in every) or f"there is no backup in {args.dir}",
    )
    if args.max_age is None:
        return FINE
    fresh = [each for each in every if clock.now() - each.manifest.until <= args.max_age]
    return FINE if fresh else FOUND


def prune(args: argparse.Namespace) -> int:
    """Delete old backups, never the newest good one, and WAL from before the oldest base."""
    now = clock.now()
    doomed = folder.superfluous(args.dir, args.keep_last, args.keep_days, now)
    gone = {each.path for each in doomed}
    bases = [e for e in folder.every(args.dir) if e.manifest.kind == "base" and e.path not in gone]
    segments: list[Path] = []
    if args.wal is not None and bases and bases[-1].manifest.wal_file:
        segments = wal.before(args.wal, bases[-1].manifest.wal_file)
    if not args.dry_run:
        folder.sweep(args.dir, now)
        for backup in doomed:
            folder.delete(backup)
        for path in segments:
            path.unlink()
    names = [each.manifest.id for each in doomed]
    word = "would delete" if args.dry_run else "deleted"
    _show(
        args,
        {"object": "pruning", "deleted": names, "wal_deleted": len(segments)},
        "\n".join(f"{word} {name}" for name in names) or "nothing is old",
    )
    return FINE


def _facts(backup: Backup) -> dict[str, Any]:
    return {"object": "backup", **asdict(backup.manifest), "path": str(backup.path)}


def _line(backup: Backup) -> str:
    told = backup.manifest
    size = sum(each.bytes for each in told.files)
    kinds = ", ".join(each.what for each in told.files)
    return f"{told.id}  {kinds}  {size} bytes  data until {told.data_until}"


def _show(args: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    print(json.dumps(facts, indent=2) if args.json else text)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


COMMANDS = {
    "create": make,
    "base": make,
    "verify": verify,
    "list": show_list,
    "prune": prune,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0: fine. 1: found something. 2: usage. 3: could not run. 130: stopped."""
    args = _arguments(argv)
    try:
        return COMMANDS[args.command](args)
    except Failed as fault:
        _say(f"backup {args.command}: {fault}")
        return NOT_RUN
    except OSError as fault:  # a full disk, a folder that may not be written
        _say(f"backup {args.command}: {fault}")
        return NOT_RUN
    except KeyboardInterrupt:
        _say(f"backup {args.command}: stopped, nothing was kept")
        return STOPPED


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
