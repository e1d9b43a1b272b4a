"""Write what is sealed under an older `ENCRYPTION_KEY` anew under the first one, so that it can go.

Every column whose name ends in `_sealed` is looked at, in small units, while the service runs: a
value is replaced only where it is still the one that was read, and processes that have the new key
read both. One that is sealed meanwhile is sealed under the first key already, wherever all
processes have it first. Doing it again changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from payments import db, sealing
from payments.db import Base, Row, Sql

SUFFIX = "_sealed"
BATCH = 200
"""Rows of one unit."""


@dataclass
class Outcome:
    """What was found in one column. unopened: the keys of rows that no key of ours opens."""

    table: str
    column: str
    seen: int = 0
    resealed: int = 0
    unopened: list[str] = field(default_factory=list)


def reseal() -> list[Outcome]:
    """All sealed values, under the first key. Opens units of its own; what no key opens stays."""
    return [_column(table, key, column) for table, key, column in columns()]


def columns() -> Iterator[tuple[str, str, str]]:
    """Each sealed column: its table, the table's key, its name."""
    for table in sorted(Base.metadata.tables.values(), key=lambda each: each.name):
        for column in table.columns:
            if column.name.endswith(SUFFIX):
                (key,) = table.primary_key.columns
                yield table.name, key.name, column.name


def _column(table: str, key: str, column: str) -> Outcome:
    outcome = Outcome(table, column)
    page = Sql(
        f"SELECT {key} AS place, {column} AS sealed FROM {table}"
        f" WHERE {column} IS NOT NULL AND {key} > :after ORDER BY {key} LIMIT :limit"
    )
    replace = Sql(
        f"UPDATE {table} SET {column} = :fresh WHERE {key} = :place AND {column} = :sealed"
    )
    after = ""
    while rows := page.all(after=after, limit=BATCH):
        after = rows[-1].place
        outcome.seen += len(rows)
        stale = list(_stale(rows, outcome))
        if stale:
            outcome.resealed += db.in_unit(lambda: _replaced(replace, stale))  # noqa: B023 (now)
    return outcome


def _stale(rows: list[Row], outcome: Outcome) -> Iterator[dict[str, Any]]:
    for row in rows:
        try:
            fresh = sealing.reseal(row.sealed)
        except sealing.Unopened:
            outcome.unopened.append(row.place)
            continue
        if fresh != row.sealed:
            yield {"place": row.place, "sealed": row.sealed, "fresh": fresh}


def _replaced(replace: Sql, stale: list[dict[str, Any]]) -> int:
    return sum(replace.run(**binds) for binds in stale)
