"""Totals that metrics show: rows that grow in the transaction of the transition they count.

So none is lost with a process, none is counted for what was rolled back, and every process shows
the same number. What a unit counts is written once, with its COMMIT. Rows are sharded by the
database's process, so that units which end together do not wait for each other's row.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Mapped, mapped_column

from payments import db as database
from payments.db import Sql, Unit, db


class MetricTotal(db.Model):
    """A part of one total. labels: a JSON object, its names in the order they are declared in."""

    __tablename__ = "metric_totals"

    name: Mapped[str] = mapped_column(primary_key=True)
    labels: Mapped[str] = mapped_column(primary_key=True)
    shard: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[database.Version]


_GROW = Sql(
    "SELECT grow_totals(:grown)",
    sqlite="INSERT INTO metric_totals (name, labels, shard, value)"
    " SELECT json_extract(value, '$.name'), json_extract(value, '$.labels'), 0,"
    " json_extract(value, '$.by') FROM json_each(:grown) WHERE true"
    " ON CONFLICT (name, labels, shard) DO UPDATE SET value = metric_totals.value + excluded.value",
    writes=True,
)
_ALL = Sql(
    "SELECT name, labels, CAST(sum(value) AS bigint) AS value FROM metric_totals"
    " GROUP BY name, labels ORDER BY name, labels"
)

Labels = tuple[str, ...]
"""A value for each of a total's label names, in their order."""


@dataclass(frozen=True)
class Total:
    """One total. labels: the values that each label can have; empty: any, such as currencies."""

    name: str
    help: str
    labels: Mapping[str, Sequence[str]]

    def grow(self, by: int = 1, /, **labels: str) -> None:
        """Count in the open unit of work; nothing where it does not commit."""
        if by < 0 or labels.keys() != self.labels.keys():
            raise ValueError(f"{self.name} has the labels {list(self.labels)} and never falls")
        if by:
            grown = _grown_by(database.unit())
            key = (self.name, self.key(**labels))
            grown[key] = grown.get(key, 0) + by

    def key(self, **labels: str) -> str:
        """The labels as they stand in the row."""
        return json.dumps({name: labels[name] for name in self.labels}, separators=(",", ":"))

    def zeros(self, **known: Sequence[str]) -> Iterator[Labels]:
        """Every series there can be. known: values of labels that can have any."""
        yield from itertools.product(
            *(values or known.get(name, ()) for name, values in self.labels.items())
        )


TOTALS: dict[str, Total] = {}
"""Every total that was declared, by name."""


def total(name: str, help: str, **labels: Sequence[str]) -> Total:
    """Declare one: by the room whose transitions it counts."""
    return TOTALS.setdefault(name, Total(name, help, labels))


def read(**known: Sequence[str]) -> dict[str, dict[Labels, int]]:
    """Each total's series, those without a row at 0. known: as for `Total.zeros`."""
    found = {name: dict.fromkeys(total.zeros(**known), 0) for name, total in TOTALS.items()}
    for row in _ALL.all():
        if row.name in TOTALS:  # a release may have dropped one; its rows stay
            labels = json.loads(row.labels)
            found[row.name][tuple(labels.values())] = int(row.value)
    return found


def lift(seen: Mapping[str, Mapping[Labels, int]]) -> int:
    """Raise, in the open unit, what is less than was seen of it; how many series that were.

    For a database that is a moment of the past: its totals would fall, and who watches them would
    count all that they ever counted once more.
    """
    lifted = 0
    for name, stands in read().items():
        for labels, most in seen.get(name, {}).items():
            missing = most - stands.get(labels, 0)
            if missing > 0:
                named = dict(zip(TOTALS[name].labels, labels, strict=True))
                TOTALS[name].grow(missing, **named)
                lifted += 1
    return lifted


def _grown_by(unit: Unit) -> dict[tuple[str, str], int]:
    if unit.grown is None:
        unit.grown = {}
        unit.before_commit(lambda: unit.at_commit(_GROW.given(grown=_listed(unit))))
    return unit.grown


def _listed(unit: Unit) -> str:
    # In one order everywhere: two units with the same shard wait for each other, and never both.
    return json.dumps(
        [
            {"name": name, "labels": labels, "by": by}
            for (name, labels), by in sorted((unit.grown or {}).items())
        ]
    )
