"""Seal everything that is sealed in the database anew, under the first ENCRYPTION_KEY.

For a rotation, after the restart that puts the new key first, and before the one that takes the old
key away. It works while the service serves, and doing it again changes nothing. Exit 0: all is
sealed under the first key. 1: something is sealed that no key of the list opens; its rows are
named. 2: usage. 3: could not run.
"""

import argparse
import json
import sqlite3
import sys
from dataclasses import asdict

import psycopg
import sqlalchemy as sa

import _root  # noqa: F401
from payments import origin
from payments.app import create_app
from payments.config import ConfigError, load_settings
from payments.errors import PaymentsError
from payments.operations import resealing
from payments.operations.resealing import Outcome

FINE, FOUND, NOT_RUN = 0, 1, 3
SHOWN = 10


def main(argv: list[str] | None = None) -> int:
    """Exit 0: all is sealed under the first key. 1: some can't be opened. 3: could not run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    try:
        app = create_app(load_settings())
        try:
            with app.app_context(), origin.acting("script:reseal"):
                found = resealing.reseal()
        finally:
            app.extensions["payments"].dispose()
    except ConfigError as error:
        print(f"The settings can't be used:\n{error}", file=sys.stderr)
        return NOT_RUN
    except PaymentsError as refusal:
        print(f"Not all could be sealed anew; run it again. {refusal.detail}", file=sys.stderr)
        return NOT_RUN
    except (sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error) as error:
        why = " ".join(str(error).split())
        print(f"The database can't be used: {why}", file=sys.stderr)
        return NOT_RUN
    if args.json:
        print(json.dumps({"object": "reseal", "columns": [asdict(each) for each in found]}))
    else:
        _print(found)
    return FOUND if any(each.unopened for each in found) else FINE


def _print(found: list[Outcome]) -> None:
    for each in found:
        kept = each.seen - each.resealed - len(each.unopened)
        print(
            f"{each.table}.{each.column}: {each.resealed} sealed anew, {kept} left as they were,"
            f" {len(each.unopened)} that no key opens"
        )
        for place in each.unopened[:SHOWN]:
            print(f"  can't be opened: {place}")
        if len(each.unopened) > SHOWN:
            print(f"  and {len(each.unopened) - SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
