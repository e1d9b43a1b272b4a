"""The same steps on SQLite and on Postgres: all that is seen of them has to be the same."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from flask import Flask

from payments import db
from payments.db import Sql, unit_of_work
from payments.errors import PaymentsError
from payments.ledger import accounts, folding, invariants, statements

TABLES = ("accounts", "entries", "postings", "unfolded_postings", "holds")
_CONTENT = {
    table: Sql(f"SELECT * FROM {table} ORDER BY {key}")
    for table, key in {**dict.fromkeys(TABLES, "id"), "unfolded_postings": "posting_id"}.items()
}

Names = dict[str, str]
"""From what a test calls an account, hold or entry to its id on this database."""
Step = Callable[[Names], Any]


class Twin:
    """Two ledgers that were led through the same steps. Ids differ, so steps go by names."""

    def __init__(self, *apps: Flask) -> None:
        self.sides: list[tuple[Flask, Names]] = [(app, {}) for app in apps]

    def unit(self, *steps: Step, gives: str | None = None) -> list[tuple[str, str]]:
        """Run the steps as one unit on each. A refused step does not end the unit.

        gives: the name of what the last step gives, if it is not refused. Returns how each step
        ended: what was raised and its message, or `done`.
        """
        return self._same(lambda names: self._unit(steps, names, gives))

    def _unit(self, steps: tuple[Step, ...], names: Names, gives: str | None) -> Any:
        ended: list[tuple[str, str]] = []
        with unit_of_work():
            for step in steps:
                try:
                    result = step(names)
                except (PaymentsError, ValueError) as refusal:
                    ended.append((type(refusal).__name__, str(refusal)))
                else:
                    ended.append(("done", ""))
        if gives is not None and ended[-1][0] == "done":
            names[gives] = str(getattr(result, "entry_id", result))
        return ended

    def read(self, look: Step) -> Any:
        """What is seen, the same on each. Ids and times in it have to be left out or named."""
        return self._same(look)

    def _same(self, work: Step) -> Any:
        seen = []
        for app, names in self.sides:
            with app.app_context():
                seen.append(work(names))
        assert seen[1:] == seen[:-1], "the databases differ"
        return seen[0]

    def same_content(self, checked: Iterable[str]) -> None:
        """Every invariant holds, every read of the accounts named is the same, and once all is
        folded every row of every table is.
        """
        self.read(lambda _: invariants.check() == [] or invariants.check())
        self.read(lambda names: [_reads(names[label]) for label in checked])
        for app, _ in self.sides:
            with app.app_context():
                folding.fold_all()
        self.read(lambda _: _tables())

    def purses(self, checked: Iterable[str]) -> dict[str, tuple[int, int, int]]:
        """True balance, held and available of the accounts named."""
        seen: dict[str, tuple[int, int, int]] = self.read(
            lambda names: {label: _purse(names[label]) for label in checked}
        )
        return seen


def lines_of(names: Names, lines: Mapping[str, int]) -> dict[str, int]:
    """The lines by id on this database; a name that is no account's stays one that is not there."""
    return {names.get(name, name): amount for name, amount in lines.items()}


def _purse(account_id: str) -> tuple[int, int, int]:
    row = accounts.get(account_id)
    assert row is not None
    return row.balance, row.held, row.available


def _reads(account_id: str) -> list[Any]:
    lines = statements.lines(account_id, 1_000)
    with db.snapshot():
        streamed = [(row.amount, row.balance) for row in statements.stream(account_id)]
    then = [
        (held.balance, held.held)
        for line in lines[:5]
        for held in [accounts.balance_at(account_id, line.created_at)]
    ]
    shown = [(row.kind, row.amount, row.balance, row.counterparty_kind) for row in lines]
    return [_purse(account_id), shown, streamed, then]


def _tables() -> dict[str, list[tuple[Any, ...]]]:
    """All content, with each id replaced by the order in which its row was made, times left out."""
    rows = {table: _CONTENT[table].all() for table in TABLES}
    # A credit that lies aside changes no row, so an account that collects counts fewer changes.
    rows["accounts"] = [row._replace(version=0) for row in rows["accounts"]]
    counts = itertools.count()
    order = {row.id: next(counts) for table in TABLES for row in rows[table] if table[0] != "u"}
    return {
        table: [tuple(_plain(value, order) for value in row) for row in found]
        for table, found in rows.items()
    }


def _plain(value: Any, order: Mapping[str, int]) -> Any:
    return "a time" if isinstance(value, datetime) else order.get(value, value)
