"""Bring a backup back: a dump into an empty database, or a cluster to a moment of its past.

`dump` restores into the database of DB_URL, which must be empty, and empties the Redis of
REDIS_URL, or puts the snapshot back. `pitr` makes a data folder of a base backup and archived WAL,
up to the newest segment or to --to-time. Either way writes are stopped in it before anything can
connect: go on with scripts/after_restore.py and scripts/reconcile.py, then allow writes.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

import _root
from payments import clock
from payments.operations.restoring import Restored
from scripts.backups import cluster, folder, redis_snapshot, restoring, stores
from scripts.backups.programs import Failed
from scripts.backups.stores import Redis

FINE, NOT_RUN, STOPPED = 0, 3, 130
EXITS = """\
exit codes:
  0    restored, and writes are stopped in it
  2    usage
  3    could not run; stderr says why. Drop the database if there is anything in it; a data folder
       that is not finished is named `….half-restored-…`
  130  stopped"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXITS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", type=Path, required=True, help="the folder of backups")
    shared.add_argument("--backup", default="latest", metavar="ID", help="which (latest)")
    shared.add_argument("--identity", type=Path, metavar="FILE", help="the age identity")
    shared.add_argument("--without-redis", action="store_true", help="leave Redis as it is")
    shared.add_argument("--json", action="store_true", help="one JSON document on stdout")
    commands = parser.add_subparsers(dest="command", required=True)
    dump = commands.add_parser("dump", parents=[shared], help="a dump into an empty database")
    dump.add_argument("--jobs", type=int, default=2, metavar="N", help="tables at once (2)")
    dump.add_argument("--work", type=Path, metavar="DIR", help="for decrypted files, meanwhile")
    dump.add_argument(
        "--redis-snapshot", action="store_true", help="put Redis's snapshot back, not empty it"
    )
    pitr = commands.add_parser("pitr", parents=[shared], help="a cluster to a moment of its past")
    pitr.add_argument("--wal", type=Path, required=True, metavar="DIR", help="the WAL archive")
    pitr.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the data folder to make"
    )
    pitr.add_argument("--database", required=True, metavar="NAME", help="the service's in it")
    pitr.add_argument(
        "--to-time", type=_moment, metavar="TIME", help="such as 2026-03-01T09:00:00Z"
    )
    pitr.add_argument("--user", default="postgres", help="a superuser of the cluster (postgres)")
    pitr.add_argument("--os-user", metavar="NAME", help="who runs Postgres; for root (postgres)")
    return parser.parse_args(argv)


def _moment(text: str) -> datetime:
    try:
        return clock.parse_rfc3339(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def restore_dump(args: argparse.Namespace) -> tuple[Restored, str]:
    """The database, then Redis; what was restored, and what became of Redis."""
    database, redis = stores.database(stores.of_process()), _redis(args)
    backup = folder.chosen(args.dir, args.backup, "dump")
    if args.redis_snapshot and redis is None:
        raise Failed("which Redis? REDIS_URL is not set, or --without-redis was given")
    restored = restoring.dump(backup, database, args.identity, jobs=args.jobs, work=args.work)
    if redis is None:
        return restored, "left as it is"
    if not args.redis_snapshot:
        redis_snapshot.empty(redis)
        return restored, "emptied"
    keys = redis_snapshot.put_back(backup, redis, args.identity, args.work)
    return restored, f"its snapshot of {keys} keys put back"


def restore_cluster(args: argparse.Namespace) -> tuple[Restored, str]:
    """The data folder; Redis is emptied where REDIS_URL says which."""
    backup = folder.chosen(args.dir, args.backup, "base")
    plan = cluster.Plan(
        backup=backup,
        archive=args.wal.resolve(),
        data=args.data.resolve(),
        database=args.database,
        user=args.user,
        os_user=args.os_user,
        identity=args.identity.resolve() if args.identity else None,
        to_time=args.to_time,
    )
    restored = cluster.recover(plan)
    redis = _redis(args)
    if redis is None:
        return restored, "left as it is"
    redis_snapshot.empty(redis)
    return restored, "emptied"


def _redis(args: argparse.Namespace) -> Redis | None:
    return None if args.without_redis else stores.redis(stores.of_process())


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0: restored. 2: usage. 3: could not run. 130: stopped."""
    args = _arguments(argv)
    work = restore_dump if args.command == "dump" else restore_cluster
    try:
        restored, redis = work(args)
    except (Failed, OSError) as fault:
        sys.stderr.write(f"restore {args.command}: {fault}\n")
        return NOT_RUN
    except KeyboardInterrupt:
        sys.stderr.write(f"restore {args.command}: stopped; remove what is half restored\n")
        return STOPPED
    until = clock.to_rfc3339(restored.data_until)
    if args.json:
        facts = {"object": "restore", "id": restored.id, "backup": restored.backup}
        print(json.dumps({**facts, "data_until": until, "redis": redis}, indent=2))
    else:
        print(f"restored {restored.backup}: all that was committed by {until} is in it")
        print(f"Redis: {redis}. Writes are stopped. Next: scripts/after_restore.py")
    return FINE


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
