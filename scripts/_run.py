"""What the scripts of on-call have in common: how they begin, how they end, and whom they tell.

Findings and results go to stdout; logs, notes and progress to stderr, progress to a terminal only.
"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from datetime import datetime

import psycopg
import sqlalchemy as sa

from payments import clock, ids, origin
from payments.app import create_app
from payments.config import ConfigError, Settings, load_settings
from payments.errors import Busy, PaymentsError

FINE, FOUND, USAGE, NOT_RUN, STOPPED = 0, 1, 2, 3, 130
EXITS = """\
exit codes:
  0    fine
  1    found something
  2    usage
  3    could not run; stderr says why
  130  stopped by Ctrl-C"""
TIME_HELP = "RFC 3339 with an offset, such as 2025-09-01T00:00:00Z"


class Refused(Exception):
    """What the script was asked for can't be had; its text says why. Exit 2, or the given code."""

    def __init__(self, why: str, code: int = USAGE) -> None:
        super().__init__(why)
        self.code = code


def parser(about: str | None, examples: str, exits: str = EXITS) -> argparse.ArgumentParser:
    """A parser whose help ends with examples, as typed, and the exit codes."""
    lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
    return argparse.ArgumentParser(
        description=about,
        epilog=f"examples:\n{lines}\n\n{exits}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def moment(text: str) -> datetime:
    """An argument that is a time. One without an offset is refused."""
    try:
        return clock.parse_rfc3339(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {TIME_HELP}") from None


def id_of(prefix: str) -> Callable[[str], str]:
    """An argument that is an id of that kind."""

    def checked(text: str) -> str:
        if not ids.is_id(prefix, text):
            raise argparse.ArgumentTypeError(f"{text!r} is no id such as {prefix}_0193...")
        return text

    return checked


def whole(text: str) -> int:
    """An argument that is a whole number above 0."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def say(line: str) -> None:
    """A line on stderr."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{clear}{line}\n")


def progress(text: str) -> None:
    """How far it is, in place, on a terminal; nothing elsewhere. An empty text takes it away."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def approved(question: str) -> bool:
    """Ask on the terminal. True without one: the flag on the command line was the approval."""
    if not sys.stdin.isatty():
        return True
    progress("")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def run(name: str, work: Callable[[], int]) -> int:
    """Do the work in the service's context, as `script:<name>`; gives the exit code.

    Neither clock nor drain is started. What it can't do it says in a line on stderr.
    """
    try:
        settings = load_settings(serves=False)
        _must_be_there(settings)
        with create_app(settings).app_context(), origin.acting(f"script:{name}"):
            code = work()
            sys.stdout.flush()
        return code
    except ConfigError as faults:
        say(f"The settings can't be used:\n{faults}")
    except Refused as refusal:
        say(f"{name}: {refusal}")
        return refusal.code
    except PaymentsError as refusal:
        say(f"{name}: {_why(refusal)}")
    except (sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error) as fault:
        say(f"{name}: {_database(fault)}")
    except BrokenPipeError:
        _let_go_of_stdout()
    except KeyboardInterrupt:
        progress("")
        say(f"{name}: stopped")
        return STOPPED
    return NOT_RUN


def _must_be_there(settings: Settings) -> None:
    """SQLite would make an empty file of a name that was mistyped."""
    path = sa.make_url(settings.db_url).database
    if settings.on_sqlite and not os.path.exists(str(path)):
        raise Refused(f"there is no database at {path}", NOT_RUN)


def _why(refusal: PaymentsError) -> str:
    if isinstance(refusal, Busy):
        if isinstance(refusal.__cause__, Exception):
            return _database(refusal.__cause__)
        return "the database did not answer in time; try again"
    return refusal.detail


def _database(fault: Exception) -> str:
    told = " ".join(str(getattr(fault, "orig", None) or fault).split())
    return f"the database can't be used: {told or type(fault).__name__}"


def _let_go_of_stdout() -> None:
    """Whoever read it is gone: Python must not try to write the rest as it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
