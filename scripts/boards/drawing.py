"""A picture of a dashboard, drawn of its JSON and of Prometheus's live answers to it.

A small renderer of our own, which knows the kinds of panels that our boards have. The same answers
give the same picture, to the byte.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scripts._prometheus import Prometheus, Series
from scripts.boards import asking, ink, units
from scripts.boards.asking import Asked
from scripts.boards.charts import Chart, Curve, Frame

WIDTH, MARGIN, GAP, UNIT = 1200.0, 16.0, 8.0, 30.0
COLUMN = (WIDTH - 2 * MARGIN + GAP) / 24
HEAD = 62.0
FOOT = 40.0
POINTS = 110
TITLE_SIZE = 12.0


@dataclass(frozen=True)
class Answered:
    """A panel's question, and what was answered."""

    asked: Asked
    series: Sequence[Series]

    def curves(self) -> Iterator[Curve]:
        """Its series by their names in the legend."""
        for series in self.series:
            yield Curve(self.asked.name(series), tuple(series.points))


def picture(
    board: Mapping[str, Any], prometheus: Prometheus, start: datetime, end: datetime, said: str
) -> str:
    """The SVG's text. said: what stands below it. Raises Unanswered."""
    shown_s = max(1, round((end - start).total_seconds()))
    step_s = max(1, round(shown_s / POINTS))
    answered: dict[int, list[Answered]] = {}
    for asked in asking.questions(board, f"{max(15, 4 * step_s)}s", shown_s):
        found = asking.answers(prometheus, asked, start, end, step_s)
        answered.setdefault(asked.panel["id"], []).append(Answered(asked, found))
    times = (start.timestamp(), end.timestamp(), step_s)
    pieces = list(_head(board, start, end))
    bottom = 0.0
    for panel in board["panels"]:
        pieces.extend(_panel(panel, answered.get(panel["id"], []), times))
        bottom = max(bottom, panel["gridPos"]["y"] + panel["gridPos"]["h"])
    height = HEAD + bottom * UNIT + FOOT
    for number, line in enumerate(said.splitlines()):
        y = height - FOOT + 16 + 14 * number
        pieces.append(ink.text(MARGIN, y, line, fill="dim"))
    return ink.page(WIDTH, height, f"{board['title']}: {said}", pieces)


def _head(board: Mapping[str, Any], start: datetime, end: datetime) -> Iterator[str]:
    yield ink.text(MARGIN, 28, board["title"], size=19, bold=True)
    yield ink.text(MARGIN, 47, board["description"], size=12, fill="dim")
    span = f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"
    yield ink.text(WIDTH - MARGIN, 28, span, size=12, fill="dim", at="end")


def _panel(
    panel: Mapping[str, Any], answered: Sequence[Answered], times: tuple[float, float, float]
) -> Iterator[str]:
    grid = panel["gridPos"]
    x, y = MARGIN + grid["x"] * COLUMN, HEAD + grid["y"] * UNIT
    w, h = grid["w"] * COLUMN - GAP, grid["h"] * UNIT - GAP
    if panel["type"] == "row":
        yield ink.text(x, y + 19, panel["title"], size=14, bold=True)
        return
    yield ink.box(x, y, w, h, "card", "edge", r=4)
    yield ink.text(
        x + 10, y + 18, panel["title"], size=TITLE_SIZE, bold=True, room=w - 14, fill="ink"
    )
    inside = Frame(x + 10, y + 30, w - 20, h - 38, *times)
    if any(each.points for found in answered for each in found.series):
        yield from _KINDS[panel["type"]](panel, answered, inside)
    else:
        nothing = panel["fieldConfig"]["defaults"].get("noValue", "no data")
        yield ink.text(x + w / 2, y + h / 2 + 8, nothing, size=13, fill="dim", at="middle")


def _timeseries(panel: Mapping[str, Any], answered: Sequence[Answered], at: Frame) -> Iterator[str]:
    curves = [curve for each in answered for curve in each.curves()]
    yield from Chart(panel, curves, at).svg()


def _stat(panel: Mapping[str, Any], answered: Sequence[Answered], at: Frame) -> Iterator[str]:
    curves = [curve for each in answered for curve in each.curves() if curve.points]
    shows = panel["options"]["textMode"]
    if panel["options"]["graphMode"] == "area":
        yield from _spark(panel, curves[0], at)
    each = at.h / len(curves)
    for number, curve in enumerate(curves):
        words, colour = _valued(panel, curve.points[-1][1])
        words = curve.name if shows == "name" else words
        size = min(32, each * 0.5, 0.94 * at.w / ink.wide(words, 1, bold=True))
        middle = at.y + each * number + each * 0.46
        if shows == "value_and_name":
            yield ink.text(
                at.x + at.w / 2, middle - size, curve.name, size=13, fill="dim", at="middle"
            )
        yield ink.text(
            at.x + at.w / 2, middle + size * 0.35, words,
            size=round(size, 1), fill=colour, bold=True, at="middle",
        )  # fmt: skip


def _spark(panel: Mapping[str, Any], curve: Curve, at: Frame) -> Iterator[str]:
    """Its course, small, at the panel's foot."""
    values = [value for _, value in curve.points]
    low, high = min(values), max(values)
    span, height = (high - low) or 1, at.h * 0.22
    foot = at.y + at.h + 2
    top = [
        (
            at.x + at.w * (moment - at.start) / (at.end - at.start),
            foot - height * ((value - low) / span if high > low else 0.1),
        )
        for moment, value in curve.points
    ]
    _, colour = _valued(panel, values[-1])
    yield ink.area(top, [(x, foot) for x, _ in top], colour)
    yield ink.path([top], colour)


def _valued(panel: Mapping[str, Any], value: float) -> tuple[str, str]:
    """What stands for the value, and its colour."""
    defaults = panel["fieldConfig"]["defaults"]
    meant = units.mapped(value, defaults.get("mappings", ()))
    if meant is not None:
        return meant["text"], meant["color"]
    shown = units.shown(value, defaults["unit"], defaults.get("decimals"))
    return shown, units.colour(value, defaults["thresholds"])


def _gauges(panel: Mapping[str, Any], answered: Sequence[Answered], at: Frame) -> Iterator[str]:
    curves = [curve for each in answered for curve in each.curves() if curve.points]
    highest = max(curve.highest for curve in curves)
    most = panel["fieldConfig"]["defaults"].get("max", highest) or 1
    each = at.h / len(curves)
    name_w = min(at.w * 0.45, max(ink.wide(curve.name, 11) for curve in curves) + 8)
    value_w = 58.0
    bar_w = at.w - name_w - value_w
    for number, curve in enumerate(curves):
        middle = at.y + each * (number + 0.5)
        words, colour = _valued(panel, curve.points[-1][1])
        thick = min(14, each * 0.55)
        share = min(1, max(0, curve.points[-1][1] / most))
        yield ink.text(at.x, middle + 4, curve.name, fill="dim", room=name_w)
        yield ink.box(at.x + name_w, middle - thick / 2, bar_w, thick, "grid", r=2)
        if share:
            yield ink.box(at.x + name_w, middle - thick / 2, bar_w * share, thick, colour, r=2)
        yield ink.text(at.x + at.w, middle + 4, words, fill=colour, bold=True, at="end")


def _table(panel: Mapping[str, Any], answered: Sequence[Answered], at: Frame) -> Iterator[str]:
    series = [each for found in answered for each in found.series if each.points]
    names = sorted({name for each in series for name in each.labels})
    lines = sorted(tuple(each.labels.get(name, "") for name in names) for each in series)
    room = at.w / max(1, len(names))
    most = int(at.h / 17) - 1
    for column, name in enumerate(names):
        yield ink.text(at.x + room * column, at.y + 12, name, fill="dim", room=room - 6)
    for number, values in enumerate(lines[:most]):
        y = at.y + 12 + 17 * (number + 1)
        yield ink.line(at.x, y - 12, at.x + at.w, y - 12, "grid")
        for column, value in enumerate(values):
            fill = {"page": "red", "ticket": "orange", "info": "blue"}.get(value, "ink")
            yield ink.text(at.x + room * column, y, value, fill=fill, room=room - 6)
    if len(lines) > most:
        more = f"+{len(lines) - most} more"
        yield ink.text(at.x + at.w, at.y + 12, more, fill="dim", at="end")


_KINDS: dict[str, Callable[[Mapping[str, Any], Sequence[Answered], Frame], Iterator[str]]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "bargauge": _gauges,
    "table": _table,
}
