"""What each merchant earned in a period, by currency, from the ledger's own postings.

Columns: from, to, merchant, currency, then in minor units opening, gross, fees, refunds, net,
payouts, adjustments and closing, where net = gross - fees - refunds and opening + net - payouts +
adjustments = closing. fees are those kept, less those returned with refunds.

--to on a whole second includes that second, so 2025-09-30T23:59:59Z is the end of September and
2025-10-01T00:00:00Z begins October: months typed so neither lose nor double a row. A closed period
gives the same bytes each time; one that reaches nearer than 15 s to now is provisional, which is
told on stderr and in the JSON. Rows are streamed: memory does not grow with them.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator

import _root  # noqa: F401
from payments import db
from payments.db import Row
from payments.settlement import report
from payments.settlement.periods import Period, period
from scripts import _run
from scripts._run import FINE, Refused

EXAMPLES = """
DB_URL=postgresql://user@host/payments .venv/bin/python scripts/settlement_report.py \\
    --from 2025-09-01T00:00:00Z --to 2025-09-30T23:59:59Z > settlement.csv
.venv/bin/python scripts/settlement_report.py --from 2025-09-01T00:00:00Z \\
    --to 2025-09-30T23:59:59Z --merchant mer_0193... --format json
"""
EXITS = """\
exit codes:
  0    fine
  2    usage; no such merchant
  3    could not run, or not to the end; stderr says why
  130  stopped by Ctrl-C: what was written is not all"""
LINES_AT_ONCE = 1_000


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _run.parser(__doc__, EXAMPLES, EXITS)
    parser.add_argument(
        "--from", dest="start", type=_run.moment, required=True, metavar="TIME", help=_run.TIME_HELP
    )
    parser.add_argument(
        "--to", type=_run.moment, required=True, metavar="TIME", help="the last second, included"
    )
    parser.add_argument(
        "--merchant", type=_run.id_of("mer"), metavar="ID", help="of this one alone"
    )
    parser.add_argument("--format", choices=("csv", "json"), default="csv", help="csv, or json")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    args = parser.parse_args(argv)
    try:
        args.period = period(args.start, args.to)
    except ValueError as fault:
        parser.error(f"--to: {fault}")
    return args


def settle(args: argparse.Namespace) -> int:
    """Exit 0: all rows were written. Raises Refused."""
    asked: Period = args.period
    with db.snapshot() as moment:
        provisional = asked.is_provisional(moment.now)
        if args.merchant is not None and not report.is_merchant(args.merchant):
            raise Refused("there is no such merchant")
        if args.json or args.format == "json":
            _write(_json_lines(asked, provisional, report.stream(asked, args.merchant)))
        else:
            _write(_csv_lines(report.stream_lines(asked, args.merchant)))
    _run.progress("")
    if provisional:
        _run.say("provisional: the period reaches nearer than 15 s to now, so it may still change")
    return FINE


def _write(lines: Iterable[str]) -> None:
    """Many at a time: a write for each would take most of the time."""
    waiting: list[str] = []
    count = 0
    for line in lines:
        waiting.append(line)
        if len(waiting) >= LINES_AT_ONCE:
            count += len(waiting)
            sys.stdout.write("".join(waiting))
            waiting.clear()
            _run.progress(f"{count} rows")
    sys.stdout.write("".join(waiting))


def _csv_lines(lines: Iterable[str]) -> Iterator[str]:
    yield f"{','.join(report.COLUMNS)}\r\n"
    for line in lines:
        yield f"{line}\r\n"


def _json_lines(asked: Period, provisional: bool, rows: Iterable[Row]) -> Iterator[str]:
    """One document, a row a line; the totals by currency come last."""
    head = {"object": "settlement_report", **asked.named(), "provisional": provisional}
    yield json.dumps(head)[:-1] + ', "data": ['
    totals: dict[str, dict[str, int]] = {}
    for number, row in enumerate(rows):
        total = totals.setdefault(row.currency, dict.fromkeys(report.AMOUNTS, 0))
        for name in report.AMOUNTS:
            total[name] += getattr(row, name)
        shown = json.dumps(report.settlement_object(row, asked, provisional))
        yield f"{',' if number else ''}\n{shown}"
    summed = [{"currency": currency, **totals[currency]} for currency in sorted(totals)]
    yield f'\n], "totals": {json.dumps(summed)}}}\n'


def main(argv: list[str] | None = None) -> int:
    """Exit 0: fine. 2: usage. 3: could not run. 130: stopped."""
    args = _arguments(argv)
    return _run.run("settlement_report", lambda: settle(args))


if __name__ == "__main__":
    sys.exit(main())
