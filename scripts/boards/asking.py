"""What Grafana would send to Prometheus for a panel, its variables filled in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scripts._prometheus import Prometheus, Series

YOUNG = {"[30d:1m]": "[1h:1s]"}
"""For a Prometheus that is minutes old: its budget is looked at second by second."""


@dataclass(frozen=True)
class Asked:
    """One target of a panel. at_once: only its last value is wanted."""

    panel: Mapping[str, Any]
    expr: str
    legend: str
    at_once: bool

    def name(self, series: Series) -> str:
        """How the panel's legend calls a series."""
        if self.legend == "__auto":
            return ", ".join(series.labels.values())
        name = self.legend
        for label, value in series.labels.items():
            name = name.replace(f"{{{{{label}}}}}", value)
        return name


def questions(
    board: Mapping[str, Any], window: str, shown_s: int, also: Mapping[str, str] = YOUNG
) -> Iterator[Asked]:
    """Every target of every panel. window: for `$__rate_interval`.

    shown_s: for `$__range`. also: what else to replace.
    """
    filled = {
        "$__range": f"{shown_s}s",
        "$__rate_interval": window,
        "$instance": ".*",
        "$route": ".*",
        **also,
    }
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"]
            for variable, value in filled.items():
                expr = expr.replace(variable, value)
            yield Asked(panel, expr, target["legendFormat"], target["instant"])


def answers(
    prometheus: Prometheus, asked: Asked, start: datetime, end: datetime, step_s: float
) -> list[Series]:
    """What Prometheus says to it, live. Raises Unanswered."""
    if asked.at_once:
        return prometheus.at(asked.expr, end)
    return prometheus.over(asked.expr, start, end, step_s)
