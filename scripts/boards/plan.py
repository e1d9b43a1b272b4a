"""A dashboard as it is thought of: rows of the runbook, panels in them, what each asks.

Limits are those of the alerts, read from their rules and never typed again.
"""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from scripts.alert_rules import FOLDER

WINDOW = "$__rate_interval"
"""Grafana's own: long enough for a rate at the scale that is looked at."""
HTTP = 'instance=~"$instance",route=~"$route"'
GRID_WIDTH = 24

Kind = Literal["stat", "lines", "areas", "gauges", "table"]
Text = tuple[str, str]
"""What stands for a value, and its colour."""


@dataclass(frozen=True)
class Query:
    """One question to Prometheus. legend: how a series is called, `{{label}}` filled in."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Limit:
    """Where a panel turns red. above: from this value on; else below it. says: the alert's name."""

    value: float
    above: bool = True
    says: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. unit: Grafana's name for it. width: of 24 columns. height: of some 30 pixels.

    alerts: the alerts that watch what it shows. texts: what to show in place of a value; `never`
    stands for a moment that was not yet. lowest, highest: the ends of its axis. shows: what a stat
    writes, its value, its series' name or both.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    unit: str = "short"
    width: int = 8
    height: int = 8
    alerts: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    texts: dict[str, Text] = field(default_factory=dict)
    nothing: str = ""
    lowest: float | None = 0
    highest: float | None = None
    decimals: int | None = None
    shows: Literal["value", "name", "both"] = "value"


@dataclass(frozen=True)
class Row:
    """A row of panels. section: the runbook's heading that is about it."""

    title: str
    section: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard. uid: by which alerts link to it."""

    uid: str
    file: str
    title: str
    about: str
    since: str
    rows: tuple[Row, ...]


def ask(expr: str, legend: str = "") -> tuple[Query, ...]:
    """One question alone."""
    return (Query(expr, legend),)


@cache
def objectives() -> dict[str, dict[str, Any]]:
    """What is promised, by name: slos.toml."""
    return tomllib.loads((FOLDER / "slos.toml").read_text())


@cache
def _alerts() -> dict[str, dict[str, Any]]:
    return tomllib.loads((FOLDER / "alerts.toml").read_text())


def limit_of(alert: str) -> Limit:
    """Where the alert begins: the first number that its rule compares with.

    `> 0` of something that is counted begins at 1; `== 0` is red below 1.
    """
    found = re.search(r"(>=?|==) ([\d.]+)", _alerts()[alert]["when"])
    if found is None:
        raise ValueError(f"{alert} compares with nothing")
    sign, number = found[1], _number(found[2])
    if sign == "==":
        return Limit(number + 1, above=False, says=alert)
    return Limit(number or 1, says=alert)


def watched(*alerts: str) -> dict[str, Any]:
    """What a panel says of the alerts that watch it: their names and where they begin."""
    return {"alerts": alerts, "limits": tuple(limit_of(alert) for alert in alerts)}


def budget(name: str) -> float:
    """The share that may go wrong."""
    return round(1 - objectives()[name]["objective"] / 100, 6)


def _number(text: str) -> float:
    return int(text) if text.isdigit() else tomllib.loads(f"n = {text}")["n"]
