"""Write the timeline of an incident: deploys, changes, alerts, rates, and whom it hit, as Markdown.

Acts of operators and settings come from the audit trail; releases, starts, outages, alerts and
rates from Prometheus; payments and webhooks from rows. Without --prometheus, or where one of them
does not answer, the rest is written and what is missing is named. After a restore give it the log
that is kept outside: acts that the database does not know any more stand there. Nothing is changed
anywhere. Merchants appear by their ids and operators by their names; phones never do.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import _root  # noqa: F401
from payments import clock, db
from payments.errors import Busy
from payments.operations import hit
from scripts import _run
from scripts._prometheus import Prometheus, Unanswered
from scripts._run import FINE, FOUND, Refused
from scripts.incidents import happenings, telling, watched
from scripts.incidents.telling import Told

EXAMPLES = """
DB_URL=postgresql://user@host/payments .venv/bin/python scripts/incident_timeline.py \\
    --from 2025-09-01T08:00:00Z --to 2025-09-01T09:30:00Z --prometheus http://127.0.0.1:9090
.venv/bin/python scripts/incident_timeline.py --from 2025-09-01T08:00:00Z \\
    --audit-log web.log --audit-log worker.log --out timeline.md
"""
EXITS = """\
exit codes:
  0    fine: written
  1    written, and something that was asked did not answer; the document says what
  2    usage
  3    could not run; stderr says why
  130  stopped by Ctrl-C; nothing was written"""
STEPS = 24
"""How many steps a window has where nobody says how long one is."""
NICE_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 86_400)
MOST_STEPS = 500
QUIET = timedelta(minutes=1)
"""A log whose last line is no older than this at the window's end covers it."""
NO_PROMETHEUS = "releases, starts, alerts, 5xx and latency: no --prometheus was given"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _run.parser(__doc__, EXAMPLES, EXITS)
    parser.add_argument(
        "--from", dest="start", type=_run.moment, required=True, metavar="TIME", help=_run.TIME_HELP
    )
    parser.add_argument("--to", type=_run.moment, metavar="TIME", help="now where none is given")
    parser.add_argument("--prometheus", metavar="URL", help="such as http://127.0.0.1:9090")
    parser.add_argument(
        "--audit-log", type=Path, action="append", default=[], metavar="FILE",
        help="the service's JSON log lines, kept outside; may be given several times",
    )  # fmt: skip
    parser.add_argument("--step", type=_run.whole, metavar="SECONDS", help="of the table of rates")
    parser.add_argument(
        "--late", type=_run.whole, default=300, metavar="SECONDS",
        help="a payment that is paid later than this is late (300)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of stdout")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args(argv)
    args.to = args.to or clock.now()
    if args.to <= args.start:
        parser.error("--to: must be later than --from")
    whole_s = (args.to - args.start).total_seconds()
    nice = (each for each in NICE_S if each * STEPS >= whole_s)
    args.step = timedelta(seconds=args.step or next(nice, NICE_S[-1]))
    if whole_s > MOST_STEPS * args.step.total_seconds():
        parser.error(f"--step: more than {MOST_STEPS} steps; take longer ones, or a shorter time")
    return args


def tell(args: argparse.Namespace) -> int:
    """Exit 0: written. 1: written, without something that did not answer. Raises Refused."""
    told = Told(args.start, args.to, args.step)
    complete = [_ask_rows(told, args.late), _ask_prometheus(told, args.prometheus)]
    if args.audit_log:
        _read_logs(told, args.audit_log)
    _run.progress("")
    lines: Iterable[str] = telling.markdown(told)
    if args.json:
        lines = [json.dumps(telling.document(told), indent=2, ensure_ascii=False)]
    text = "".join(f"{line}\n" for line in lines)
    if args.out:
        _write(args.out, text)
    else:
        sys.stdout.write(text)
    return FINE if all(complete) else FOUND


def _ask_rows(told: Told, late_s: int) -> bool:
    _run.progress("the audit trail and what rows say")
    try:
        with db.snapshot():
            acts = list(happenings.audited(told.start, told.end))
            told.hit = hit.look(told.start, told.end, told.step, late_s)
            told.happenings += acts
    except Busy:
        told.missing.append("acts, payments and webhooks: the database does not answer")
        return False
    return True


def _ask_prometheus(told: Told, url: str | None) -> bool:
    if url is None:
        told.missing.append(NO_PROMETHEUS)
        return True
    _run.progress("Prometheus")
    with closing(Prometheus(url)) as prometheus:
        try:
            told.watched = watched.watch(prometheus, told.start, told.end, told.step)
        except Unanswered as why:
            told.missing.append(f"releases, starts, alerts, 5xx and latency: {why}")
            return False
    told.happenings += told.watched.happenings
    return True


def _read_logs(told: Told, paths: list[Path]) -> None:
    with ExitStack() as files:
        try:
            opened = [files.enter_context(path.open(errors="replace")) for path in paths]
        except OSError as fault:
            raise Refused(f"{fault.filename}: {fault.strerror}") from None
        told.log = happenings.read(_counted(opened), told.start, told.end)
    told.happenings += told.log.happenings
    told.missing.extend(_not_covered(told, told.log))


def _counted(files: Iterable[Iterable[str]]) -> Iterator[str]:
    for file in files:
        for number, line in enumerate(file):
            if number % 10_000 == 0:
                _run.progress(f"the log, {number} lines")
            yield line


def _not_covered(told: Told, log: happenings.Read) -> Iterator[str]:
    if log.since is None or log.until is None:
        yield "acts that only the log knows: no line of it is ours"
        return
    if log.since > told.start:
        yield f"what only the log knows, before {clock.to_rfc3339(log.since)}: it begins there"
    if log.until < told.end - QUIET:
        yield f"what only the log knows, after {clock.to_rfc3339(log.until)}: it ends there"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as fault:
        raise Refused(f"{path}: {fault.strerror}") from None
    _run.say(f"written: {path}")


def main(argv: list[str] | None = None) -> int:
    """Exit 0: fine. 1: something did not answer. 2: usage. 3: could not run. 130: stopped."""
    args = _arguments(argv)
    return _run.run("incident_timeline", lambda: tell(args))


if __name__ == "__main__":
    sys.exit(main())
