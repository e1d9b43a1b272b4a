"""The timeline of an incident as Markdown, or as one JSON document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from payments import clock
from payments.operations.hit import Hit
from scripts.incidents.happenings import Happening, Read
from scripts.incidents.watched import Watched

BARS = "▁▂▃▄▅▆▇█"
SHOWN_MERCHANTS = 20
KINDS = {
    "deploy": "deploy", "setting": "setting", "act": "operator", "alert": "alert",
    "outage": "outage",
}  # fmt: skip
WRONG = ("payments expired", "payments late", "deliveries failed", "deliveries pending",
         "deliveries late", "attempts failed")  # fmt: skip
Value = float | None


@dataclass
class Told:
    """All that was found. missing: what could not be asked, and why. hit: None without a database.

    watched: None without Prometheus; log: None without one.
    """

    start: datetime
    end: datetime
    step: timedelta
    happenings: list[Happening] = field(default_factory=list)
    hit: Hit | None = None
    watched: Watched | None = None
    log: Read | None = None
    missing: list[str] = field(default_factory=list)

    def sorted(self) -> list[Happening]:
        """In the order of time, what stands in audit and log alike once."""
        seen: set[str] = set()
        found = []
        for each in sorted(self.happenings):
            if not each.id or each.id not in seen:
                found.append(each)
            seen.add(each.id)
        return found

    def columns(self) -> dict[str, Sequence[Value]]:
        """Step by step: what Prometheus counted, then what rows say."""
        columns: dict[str, Sequence[Value]] = dict(self.watched.rates) if self.watched else {}
        if self.hit:
            steps = self.hit.steps
            columns |= {
                "payments asked": [step.asked for step in steps],
                "payments paid": [step.paid for step in steps],
                "webhook attempts": [step.attempts for step in steps],
                "attempts failed": [step.attempts_failed for step in steps],
            }
        return columns


def markdown(told: Told) -> Iterator[str]:
    """Its lines."""
    span = f"{_time(told.start)} to {_time(told.end)}"
    yield f"## Timeline, {told.start:%Y-%m-%d}, {span} UTC"
    yield ""
    for line in told.missing:
        yield f"- Missing: {line}"
    if told.missing:
        yield ""
    yield from _happenings(told)
    yield from _rates(told)
    yield from _impact(told)


def _happenings(told: Told) -> Iterator[str]:
    found = told.sorted()
    if not found:
        yield "Nothing is known to have been deployed, changed or alerted in this time."
        yield ""
        return
    yield "| Time | What | | Who |"
    yield "| --- | --- | --- | --- |"
    several = told.end.date() != told.start.date()
    # What is the same again and again is one line: a stranger's wrong tokens above all.
    for (kind, what, who), same in groupby(found, lambda each: (each.kind, each.what, each.who)):
        alike = list(same)
        times = f" ({len(alike)} times, until {_time(alike[-1].at)})" if len(alike) > 1 else ""
        at = f"{alike[0].at:%m-%d} {_time(alike[0].at)}" if several else _time(alike[0].at)
        yield f"| {at} | {KINDS[kind]} | {_cell(what)}{times} | {_cell(who)} |"
    yield ""


def _rates(told: Told) -> Iterator[str]:
    columns = told.columns()
    if not columns:
        return
    yield f"### Rates, each {_span(told.step)}"
    yield ""
    yield "| | Course | Highest | Sum |"
    yield "| --- | --- | ---: | ---: |"
    for name, values in columns.items():
        known = [value for value in values if value is not None]
        most = _number(max(known)) if known else "unknown"
        adds_up = name not in ("requests a second", "p95, ms", "overdue")
        total = _number(sum(known)) if known and adds_up else ""
        yield f"| {name} | `{spark(values)}` | {most} | {total} |"
    yield ""
    yield f"| From | {' | '.join(columns)} |"
    yield f"| --- | {' | '.join('---:' for _ in columns)} |"
    for number, values in enumerate(zip(*columns.values(), strict=True)):
        cells = ("" if value is None else _number(value) for value in values)
        yield f"| {_time(told.start + told.step * number)} | {' | '.join(cells)} |"
    yield ""


def _impact(told: Told) -> Iterator[str]:
    yield "### Who was hit"
    yield ""
    for name, value in impact(told).items():
        if isinstance(value, dict):
            value = ", ".join(f"{count} {what}" for what, count in value.items()) or "none"
        title = name[0].upper() + name[1:].replace("_", " ")
        yield f"- {title}: {'unknown' if value is None else value}"
    yield ""
    if not told.hit or not told.hit.merchants:
        return
    worst = sorted(told.hit.merchants.items(), key=lambda each: (-sum(each[1].values()), each[0]))
    yield f"| Merchant | {' | '.join(WRONG)} |"
    yield f"| --- | {' | '.join('---:' for _ in WRONG)} |"
    for merchant, counts in worst[:SHOWN_MERCHANTS]:
        yield f"| {merchant} | {' | '.join(str(counts[name]) for name in WRONG)} |"
    if len(worst) > SHOWN_MERCHANTS:
        yield f"| and {len(worst) - SHOWN_MERCHANTS} more | {' | '.join('' for _ in WRONG)} |"
    yield ""


def impact(told: Told) -> dict[str, Any]:
    """The numbers: who was hit, how often. None: unknown."""
    hit, log = told.hit, told.log
    faults = (
        round(told.watched.faults) if told.watched and told.watched.faults is not None else None
    )
    found: dict[str, Any] = {"answers_of_5xx": faults}
    if log:
        found["answers_of_5xx_in_the_log"] = log.faults
        found["callers_who_got_one"] = len(log.hit)
    if hit:
        late = f"paid_later_than_{hit.late_s}_s"
        found |= {
            "payments_asked_for": {k: v for k, v in sorted(hit.asked.items()) if k != "late"},
            late: hit.asked["late"],
            "customers_whose_payment_expired_or_came_late": len(hit.payers),
            "deliveries": {k: v for k, v in sorted(hit.deliveries.items()) if k != "late"},
            "deliveries_later_than_30_s": hit.deliveries["late"],
            "attempts_by_outcome": dict(sorted(hit.attempts.items())),
            "endpoints_with_trouble": len(hit.endpoints),
            "merchants_hit": len(hit.merchants),
        }
    return found


def document(told: Told) -> dict[str, Any]:
    """The same for machines."""
    return {
        "object": "incident_timeline",
        "from": clock.to_rfc3339(told.start),
        "to": clock.to_rfc3339(told.end),
        "step_s": int(told.step.total_seconds()),
        "missing": told.missing,
        "timeline": [each.shown() for each in told.sorted()],
        "rates": {name: list(values) for name, values in told.columns().items()},
        "impact": impact(told),
        "merchants": {
            merchant: dict(sorted(counts.items()))
            for merchant, counts in sorted(told.hit.merchants.items() if told.hit else ())
        },
    }


def spark(values: Sequence[Value]) -> str:
    """The course of a number in one word; a dot where it is unknown."""
    most = max((value for value in values if value is not None), default=0)

    def bar(value: Value) -> str:
        if value is None:
            return "·"
        return BARS[0] if not value or most <= 0 else BARS[min(7, int(value / most * 7.999))]

    return "".join(bar(value) for value in values)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _span(step: timedelta) -> str:
    seconds = int(step.total_seconds())
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


def _number(value: float) -> str:
    if isinstance(value, int) or value == round(value):
        return f"{value:.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
