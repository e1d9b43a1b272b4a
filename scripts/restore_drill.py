"""Rehearse the worst day: back up under load, destroy both stores, restore, compare, time it.

Starts servers of its own and touches no others. Clients pay over HTTP until Postgres and Redis are
killed and deleted; then the runbook's four steps bring them back, once from archived write-ahead
log and once from a dump. Prints RPO and RTO of each way, on this machine and with this much data.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import _root
from tests.backups import drill
from tests.backups.drill import DrillFailed
from tests.children import ChildError, ServerMissing

FINE, FOUND, NOT_RUN = 0, 1, 3
EXITS = """\
exit codes:
  0  what was acknowledged came back, but for the window that each way states
  1  a payment outside the window is lost, a version fell, or an invariant is broken
  2  usage
  3  the drill could not be run to its end; stderr says why"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXITS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of load, before (20)")
    parser.add_argument(
        "--archive-timeout", type=int, default=5, metavar="S",
        help="seconds between segments of write-ahead log, at most (5; production: 60)",
    )  # fmt: skip
    parser.add_argument("--clients", type=int, default=4, help="who pay at once (4)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0: good. 1: something was lost that may not be. 2: usage. 3: could not run."""
    args = _arguments(argv)
    told: list[str] = []
    tell = told.append if args.json else print
    try:
        found = drill.run(args.seconds, args.archive_timeout, args.clients, tell)
    except (DrillFailed, ChildError, ServerMissing, TimeoutError, AssertionError) as fault:
        sys.stderr.write(f"restore_drill: {fault}\n")
        return NOT_RUN
    if args.json:
        ways = [asdict(each) | {"good": each.is_good} for each in found]
        print(json.dumps({"object": "restore_drill", "ways": ways}, indent=2))
    else:
        for each in found:
            print(f"\n{each.way}")
            for name, took in each.steps.items():
                print(f"  {took:7.2f} s  {name}")
            print(f"  {each.rto_s:7.2f} s  RTO")
            print(f"  {each.rpo_s:7.2f} s  RPO, of at most {each.rpo_stated_s} s stated")
    return FINE if all(each.is_good for each in found) else FOUND


if __name__ == "__main__":
    sys.exit(main())
