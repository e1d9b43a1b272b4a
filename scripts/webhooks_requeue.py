"""Make failed webhook deliveries due again, with a preview of what they are.

Each keeps its X-Delivery-ID, by which receivers dedupe, and gets a full new schedule. First
attempts are spread by --rate, so that a receiver that is just back is not run over. Deliveries of
endpoints that are not enabled stay as they are. Stopped half way (Ctrl-C), what was requeued stays
so, and the same command goes on with the rest. On a terminal it asks first. Without Redis the
service's sweep finds what is due.
"""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

import _root  # noqa: F401
from payments import clock, db
from payments.events.types import EVENT_TYPES
from payments.webhooks import requeue
from payments.webhooks.requeue import Place, Preview, Requeued, Wanted
from scripts import _run
from scripts._run import FINE, FOUND

EXAMPLES = """
DB_URL=postgresql://user@host/payments .venv/bin/python scripts/webhooks_requeue.py --dry-run
.venv/bin/python scripts/webhooks_requeue.py --since 2025-09-01T08:00:00Z --rate 5
.venv/bin/python scripts/webhooks_requeue.py --endpoint we_0193... --status canceled --limit 100
"""
EXITS = """\
exit codes:
  0    fine: nothing that is wanted is left, but what is beyond --limit
  1    found something: --dry-run has matches, or some stay since their endpoint is not enabled
  2    usage
  3    could not run; stderr says why
  130  stopped by Ctrl-C"""
CHOSEN_AT_ONCE = 20 * requeue.AT_ONCE


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _run.parser(__doc__, EXAMPLES, EXITS)
    parser.add_argument("--endpoint", type=_run.id_of("we"), metavar="ID", help="of this alone")
    parser.add_argument(
        "--event-type", choices=EVENT_TYPES, metavar="TYPE", help="such as payment.succeeded"
    )
    parser.add_argument(
        "--since", type=_run.moment, metavar="TIME", help=f"created then or later; {_run.TIME_HELP}"
    )
    parser.add_argument("--until", type=_run.moment, metavar="TIME", help="created then or before")
    parser.add_argument(
        "--status",
        choices=requeue.STATUSES,
        default="failed",
        help="failed (the default), canceled or delivered",
    )
    parser.add_argument("--limit", type=_run.whole, metavar="N", help="at most so many")
    parser.add_argument(
        "--rate",
        type=_run.whole,
        default=requeue.RATE,
        metavar="N",
        help=f"first attempts a second ({requeue.RATE})",
    )
    parser.add_argument("--dry-run", action="store_true", help="the preview alone")
    parser.add_argument(
        "--yes", action="store_true", help="do not ask (without a terminal nothing is asked)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args(argv)


class Run:
    """One run over what is wanted, batch by batch."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.wanted = Wanted(args.status, args.endpoint, args.event_type, args.since, args.until)
        self.done = 0
        self.first_at: datetime | None = None
        self.last_at: datetime | None = None

    def go(self) -> int:
        """Exit 0: fine. 1: something is left."""
        with db.snapshot():
            found = requeue.preview(self.wanted)
        if not self.args.json:
            _print_preview(found, self.wanted)
        sendable = found.matched - found.unsendable
        if self.args.dry_run:
            self._report(found)
            return FOUND if found.matched else FINE
        wanted = min(sendable, self.args.limit or sendable)
        if sendable and (self.args.yes or _run.approved(f"Requeue {wanted} deliveries?")):
            try:
                self._requeue(wanted)
            finally:
                _run.progress("")
                _run.say(f"requeued {self.done} deliveries")
        elif sendable:
            _run.say("Nothing was changed.")
            return FOUND
        self._report(found)
        return FOUND if found.unsendable else FINE

    def _requeue(self, wanted: int) -> None:
        first_at, after = db.now(), None
        while chosen := self._choose(wanted - self.done, after):
            for start in range(0, len(chosen), requeue.AT_ONCE):
                ids = [row.id for row in chosen[start : start + requeue.AT_ONCE]]
                self._note(db.in_unit(lambda: self._make_due(ids, first_at)))  # noqa: B023
                _run.progress(f"{self.done}/{wanted} requeued")
            after = (chosen[-1].created_at, chosen[-1].id)

    def _choose(self, limit: int, after: Place | None) -> list[Any]:
        if limit < 1:
            return []
        with db.snapshot():
            return requeue.choose(self.wanted, min(limit, CHOSEN_AT_ONCE), after)

    def _make_due(self, ids: list[str], first_at: datetime) -> Requeued:
        return requeue.make_due(self.wanted, ids, first_at, self.args.rate, self.done)

    def _note(self, made: Requeued) -> None:
        self.done += made.count
        self.first_at = self.first_at or made.first_at
        self.last_at = made.last_at or self.last_at

    def _report(self, found: Preview) -> None:
        if self.args.json:
            shown = {
                "object": "requeue",
                "status": self.wanted.status,
                "dry_run": self.args.dry_run,
                **asdict(found),
                "requeued": self.done,
                "first_at": self.first_at and clock.to_rfc3339(self.first_at),
                "last_at": self.last_at and clock.to_rfc3339(self.last_at),
            }
            print(json.dumps(shown, indent=2))
        elif self.first_at and self.last_at:
            print(
                f"{self.done} deliveries are due again, the first at"
                f" {clock.to_rfc3339(self.first_at)}, the last at"
                f" {clock.to_rfc3339(self.last_at)}"
            )


def _print_preview(found: Preview, wanted: Wanted) -> None:
    for group in found.groups:
        print(
            f"{group['deliveries']:>8}  {group['endpoint']} {group['endpoint_status']}"
            f"  {group['age']}  last answer: {group['last_outcome'] or 'none'}"
        )
    shown = sum(group["deliveries"] for group in found.groups)
    if shown < found.matched:
        print(f"{found.matched - shown:>8}  in smaller groups")
    print(f"{found.matched} {wanted.status} deliveries match.")
    if found.unsendable:
        print(f"{found.unsendable} of them stay: their endpoint is not enabled.")


def main(argv: list[str] | None = None) -> int:
    """Exit 0: fine. 1: something is left. 2: usage. 3: could not run. 130: stopped."""
    args = _arguments(argv)
    return _run.run("webhooks_requeue", lambda: Run(args).go())


if __name__ == "__main__":
    sys.exit(main())
