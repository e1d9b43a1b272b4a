"""Check every invariant of the ledger and of what is built on it; repair cached balances if asked.

Without options nothing is changed. All checks see one moment, so a running service causes no false
alarm, and reads and payments go on meanwhile. The end of each run is noted in the database, where
metrics and alerts find it.

--fix-balances rebuilds `balance` and `held` of the accounts where they are not what postings and
live holds add up to, one account at a time and under its lock. It touches no posting, is written
into the audit trail, and works while all else is read-only. On a terminal it asks first.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import _root  # noqa: F401
from payments import clock, db
from payments.errors import Busy
from payments.ledger import reconciliation, repair
from payments.ledger.invariants import Invariant
from payments.ledger.reconciliation import Checked, Report
from payments.ledger.repair import Repaired
from scripts import _run
from scripts._run import FINE, FOUND

EXAMPLES = """
DB_URL=postgresql://user@host/payments .venv/bin/python scripts/reconcile.py
DB_URL=postgresql://user@host/payments .venv/bin/python scripts/reconcile.py --fix-balances
.venv/bin/python scripts/reconcile.py --json | jq .findings
"""


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _run.parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--fix-balances", action="store_true", help="rebuild cached balances that are wrong"
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask (without a terminal nothing is asked)"
    )
    parser.add_argument(
        "--show",
        type=_run.whole,
        default=reconciliation.SHOWN,
        metavar="N",
        help=f"findings shown of each invariant ({reconciliation.SHOWN}); all are counted",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args(argv)


def reconcile(args: argparse.Namespace) -> int:
    """Exit 0: everything holds, at the end. 1: something does not."""
    report = _check(args.show)
    repaired: list[Repaired] = []
    if args.fix_balances:
        if not args.json:
            _print_report(report)
        repaired = _repair_all(args)
        if repaired:
            report = _check(args.show)
    if args.json:
        _print_json(report, repaired)
    elif repaired or not args.fix_balances:
        _print_report(report)
    sys.stdout.flush()
    db.in_unit(lambda: reconciliation.note(report, len(repaired)), in_read_only=True)
    return FOUND if report.findings else FINE


def _check(shown: int) -> Report:
    def began(place: int, count: int, invariant: Invariant) -> None:
        _run.progress(f"{place}/{count} {invariant.name}")

    report = reconciliation.run(shown, began)
    _run.progress("")
    return report


def _repair_all(args: argparse.Namespace) -> list[Repaired]:
    """Each account in a unit of its own; one that is busy is left for another run."""
    count = repair.count_wrong()
    if not count:
        _run.say("No cached balance is wrong: there is nothing to repair.")
        return []
    if not args.yes and not _run.approved(f"Rebuild the cached balances of {count} accounts?"):
        _run.say("Nothing was changed.")
        return []
    done: list[Repaired] = []
    after = ""
    while wrong := repair.wrong_accounts(after):
        for account_id in wrong:
            _run.progress(f"{len(done)}/{count} {account_id}")
            repaired = _repair(account_id)
            if repaired is not None:
                done.append(repaired)
                if not args.json:
                    _print_repaired(repaired)
        after = wrong[-1]
    _run.progress("")
    return done


def _repair(account_id: str) -> Repaired | None:
    try:
        return db.in_unit(lambda: repair.rebuild(account_id), in_read_only=True)
    except Busy:
        _run.say(f"{account_id} is busy and was left as it is; run this again")
        return None


def _print_report(report: Report) -> None:
    for each in report.checked:
        _print_checked(each)
    print(
        f"{len(report.checked)} invariants, {report.findings} findings"
        f" at {clock.to_rfc3339(report.at)}"
    )


def _print_checked(each: Checked) -> None:
    if not each.count:
        print(f"ok     {each.invariant.name}")
        return
    print(f"BROKEN {each.invariant.name}: {each.count} findings. {each.invariant.meaning}")
    for facts in each.shown:
        print("       " + " ".join(f"{name}={value}" for name, value in facts.items()))
    if each.count > len(each.shown):
        print(f"       and {each.count - len(each.shown)} more")


def _print_repaired(each: Repaired) -> None:
    before, after = each.before, each.after
    print(
        f"FIXED  {each.account_id} {each.kind} {each.currency}"
        f" balance {before.balance} -> {after.balance} held {before.held} -> {after.held}"
        + (" BELOW ITS FLOOR" if each.is_below_floor else "")
    )


def _print_json(report: Report, repaired: list[Repaired]) -> None:
    shown: dict[str, Any] = {
        "object": "reconciliation",
        "at": clock.to_rfc3339(report.at),
        "findings": report.findings,
        "invariants": [
            {
                "name": each.invariant.name,
                "meaning": each.invariant.meaning,
                "findings": each.count,
                "shown": each.shown,
            }
            for each in report.checked
        ],
        "repaired": [asdict(each) for each in repaired],
    }
    print(json.dumps(shown, indent=2))


def main(argv: list[str] | None = None) -> int:
    """Exit 0: everything holds. 1: findings. 3: could not run. 130: stopped."""
    args = _arguments(argv)
    return _run.run("reconcile", lambda: reconcile(args))


if __name__ == "__main__":
    sys.exit(main())
