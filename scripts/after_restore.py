"""Before traffic: end all sessions, raise all versions, say what a restore brought back or lost.

Runs on a restored database while writes are stopped; a second run changes nothing and lists again.
Give it the log that is kept outside (JSON lines, as the service writes them): what was done since
the backup stands there and nowhere else. Without it only what stands in the database is listed.
And name the Prometheus that scrapes the service (or set PROMETHEUS_URL): totals are raised to what
it has seen, since a total that falls is counted once more from 0 by every graph and alert.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

import _root
from payments import audit, clock, config, db, origin, totals
from payments.app import create_app
from payments.config import ConfigError, load_settings
from payments.errors import PaymentsError
from payments.operations import brought_back, restoring
from payments.operations.brought_back import ADVICE, Report
from payments.operations.restoring import Prepared, Restored
from scripts._prometheus import Prometheus, Unanswered

FINE, FOUND, NOT_RUN = 0, 1, 3
SHOWN = 20
SEEN_BEFORE = timedelta(hours=1)
"""So long before the backup Prometheus is asked about too: scrapes may have been missed."""
ASKED = 'max by ({labels}) (max_over_time({name}{{job="payments"}}[{reach}s]))'
EXITS = """\
exit codes:
  0  done; the log knows nothing that the database does not
  1  done; something was lost or brought back, no log was given, or Prometheus does not answer
  2  usage
  3  could not run; stderr says why"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXITS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--log", type=Path, action="append", default=[], metavar="FILE",
        help="a log kept outside; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--restored-to", type=_moment, metavar="TIME",
        help="of a database that a provider restored to that moment: scripts/restore.py says it"
        " itself",
    )  # fmt: skip
    parser.add_argument("--prometheus", metavar="URL", help="PROMETHEUS_URL where it is not given")
    parser.add_argument("--json", action="store_true", help="all of it, as one JSON document")
    return parser.parse_args(argv)


def _moment(text: str) -> datetime:
    try:
        return clock.parse_rfc3339(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def work(args: argparse.Namespace) -> int:
    """Exit 1: there is something to look through."""
    restored, done = restoring.prepare(_by_hand(args.restored_to))
    db.in_unit(lambda: _note(restored, done), in_read_only=True)
    told = _raise_totals(args.prometheus or config.current().prometheus_url, restored)
    with ExitStack() as files, db.snapshot():
        lines = None
        if args.log:
            opened = [files.enter_context(path.open(errors="replace")) for path in args.log]
            lines = (line for one in opened for line in one)
        report = brought_back.report(restored.data_until, lines)
    if args.json:
        print(json.dumps(_facts(restored, done, report) | {"totals": told.says}, indent=2))
    else:
        for line in _text(restored, done, report):
            print(line)
        print(told.says)
    return FINE if report.lost == [] and told.fine else FOUND


class _Totals(NamedTuple):
    """What became of the totals. fine: whether that is all that was asked for."""

    says: str
    fine: bool


def _raise_totals(url: str | None, restored: Restored) -> _Totals:
    """Nothing that metrics show may fall; Prometheus alone knows how far it had come."""
    if url is None:
        return _Totals("No Prometheus was named: totals that metrics show may have fallen.", True)
    now = clock.now()
    reach = int((now - restored.data_until + SEEN_BEFORE).total_seconds())
    seen: dict[str, dict[totals.Labels, int]] = {}
    try:
        with closing(Prometheus(url)) as prometheus:
            for total in totals.TOTALS.values():
                asked = ASKED.format(labels=", ".join(total.labels), name=total.name, reach=reach)
                seen[total.name] = {
                    tuple(each.labels.get(label, "") for label in total.labels): int(each.last or 0)
                    for each in prometheus.at(asked, now)
                }
    except Unanswered as why:
        return _Totals(f"Totals that metrics show may have fallen: {why}", False)
    lifted = db.in_unit(lambda: totals.lift(seen), in_read_only=True)
    return _Totals(f"{lifted} totals were raised to what {prometheus.name} has seen.", True)


def _by_hand(to: datetime | None) -> Restored | None:
    if to is None:
        return None
    told = clock.to_rfc3339(to)
    return Restored(f"by hand@{told}", "by hand", to, clock.now(), None)


def _note(restored: Restored, done: Prepared | None) -> None:
    after: dict[str, Any] = {"data_until": clock.to_rfc3339(restored.data_until)}
    if done is not None:
        after |= {"epoch": done.epoch, "sessions_ended": done.sessions_ended}
    audit.record(origin.current().actor, "restore.prepare", restored.id, after=after)


def _facts(restored: Restored, done: Prepared | None, report: Report) -> dict[str, Any]:
    return {
        "object": "restore_report",
        "restore": restored.id,
        "window": {
            "from": clock.to_rfc3339(restored.data_until),
            "to": clock.to_rfc3339(restored.restored_at),
        },
        "prepared": None if done is None else asdict(done),
        "standing": report.standing,
        "lost": None if report.lost is None else [asdict(each) for each in report.lost],
        "log_unread_lines": report.unread,
        "log_since": None if report.since is None else clock.to_rfc3339(report.since),
        "log_until": None if report.until is None else clock.to_rfc3339(report.until),
    }


def _text(restored: Restored, done: Prepared | None, report: Report) -> Iterator[str]:
    since, until = map(clock.to_rfc3339, (restored.data_until, restored.restored_at))
    yield f"Restored {restored.backup}. What was done from {since} to {until} may be lost."
    if done is None:
        yield "Sessions were ended and versions raised by an earlier run."
    else:
        yield (
            f"{done.sessions_ended} sessions and {done.codes_ended} open codes ended;"
            f" {sum(done.raised.values())} versions raised to"
            f" {restoring.version_floor(done.epoch)}."
        )
    for kind, rows in report.standing.items():
        yield f"\n{kind} as the backup has them: {len(rows)}"
        yield from _some([" ".join(f"{k}={v}" for k, v in row.items()) for row in rows])
    yield ""
    if report.lost is None:
        yield "No log was given: what was done since can't be told. Use --log FILE."
        return
    if report.since is None or report.since > restored.data_until:
        yield f"The log does not reach back to {since}: give the one before it as well."
    for kind, count in report.counts.items():
        yield f"LOST {kind}: {count}. {ADVICE[kind]}"
        yield from _some(
            [
                f"{each.at} {each.what} by {each.who} {each.subject_id or ''} {each.request_id}"
                for each in report.lost
                if each.kind == kind
            ]
        )
    yield f"{len(report.lost)} things are in the log and not in the database."


def _some(lines: list[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield f"  and {len(lines) - SHOWN} more (--json has all)"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0: nothing to look through. 1: a list. 2: usage. 3: could not run."""
    args = _arguments(argv)
    try:
        app = create_app(load_settings(serves=False))
        try:
            with app.app_context(), origin.acting("script:after_restore"):
                return work(args)
        finally:
            app.extensions["payments"].dispose()
    except ConfigError as faults:
        sys.stderr.write(f"The settings can't be used:\n{faults}\n")
    except PaymentsError as refusal:
        sys.stderr.write(f"after_restore: {refusal}\n")
    except (sa.exc.SQLAlchemyError, OSError) as fault:
        told = " ".join(str(getattr(fault, "orig", None) or fault).split())
        sys.stderr.write(f"after_restore: {told}\n")
    return NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
