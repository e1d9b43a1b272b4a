"""The course of series over time, as Grafana's time series panels show it: lines and stacked areas.

Axes begin at 0 where the panel says so. Series that never were anything but 0 are named, not drawn.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scripts.boards import ink, units
from scripts.boards.ink import PALETTE, Point

LEGEND_SIZE, LEGEND_LINE = 10, 15
LEGEND_SHARE = 0.3
"""Of a chart's height, at most."""
TICK_SIZE = 10
AXIS = 46
TIMES_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14_400, 28_800, 86_400, 172_800),
)
"""Distances of times that are round to people."""
NAMED = {"green", "orange", "red", "blue", "text"}


@dataclass(frozen=True)
class Curve:
    """One series of a panel by its legend's name. points: (Unix seconds, value)."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def highest(self) -> float:
        """Its largest value."""
        return max((value for _, value in self.points), default=0)


@dataclass(frozen=True)
class Frame:
    """Where a chart goes, and the time that it spans in Unix seconds. step_s: between points."""

    x: float
    y: float
    w: float
    h: float
    start: float
    end: float
    step_s: float


class Chart:
    """One panel's curves in its frame."""

    def __init__(self, panel: Mapping[str, Any], curves: Sequence[Curve], frame: Frame) -> None:
        self.panel, self.frame = panel, frame
        self.defaults = panel["fieldConfig"]["defaults"]
        custom = self.defaults.get("custom", {})
        self.stacked = custom.get("stacking", {}).get("mode") == "normal"
        known = [curve for curve in curves if curve.points]
        self.drawn = sorted(
            (curve for curve in known if any(value for _, value in curve.points)),
            key=lambda curve: (-round(curve.highest, 9), curve.name),
        )
        self.level = sorted(curve.name for curve in known if curve not in self.drawn)
        if not self.drawn and known:
            self.drawn, self.level = known[:1], sorted(curve.name for curve in known[1:])
        self.colours = dict(zip((c.name for c in self.drawn), self._colours(), strict=True))

    def svg(self) -> Iterator[str]:
        """Its pieces."""
        legend = list(self._legend())
        height = self.frame.h - 18 - LEGEND_LINE * len(legend)
        low, high, ticks = self._scale()
        self.plot = Frame(
            self.frame.x + AXIS, self.frame.y, self.frame.w - AXIS, height,
            self.frame.start, self.frame.end, self.frame.step_s,
        )  # fmt: skip
        self.low, self.high = low, high
        yield from self._axes(ticks)
        yield from self._stack() if self.stacked else self._lines()
        yield from self._thresholds()
        for number, pieces in enumerate(legend):
            y = self.plot.y + height + 32 + LEGEND_LINE * number
            for x, words, colour in pieces:
                if colour:
                    yield ink.box(x, y - 4, 10, 3, colour, r=1)
                yield ink.text(x + (14 if colour else 0), y, words, size=LEGEND_SIZE, fill="dim")

    def _colours(self) -> Iterator[str]:
        given = {
            override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
            for override in self.panel["fieldConfig"]["overrides"]
        }
        number = 0
        for curve in self.drawn:
            if given.get(curve.name) in NAMED:
                yield given[curve.name]
            else:
                yield f"p{number % PALETTE}"
                number += 1

    def _scale(self) -> tuple[float, float, list[float]]:
        """Lowest, highest, and the ticks between them."""
        if self.stacked:
            sums: dict[float, float] = {}
            for curve in self.drawn:
                for moment, value in curve.points:
                    sums[moment] = sums.get(moment, 0) + value
            tops, bottoms = list(sums.values()) or [1], [0.0]
        else:
            tops = [curve.highest for curve in self.drawn] or [1]
            bottoms = [min(v for _, v in curve.points) for curve in self.drawn] or [0]
        top = max(tops)
        limits = [step for step in self._limits() if step <= 2.5 * top]
        top = max([top, *limits])
        low = self.defaults.get("min", min(bottoms))
        high = max(self.defaults.get("max", top), top)
        if high <= low:
            high = low + 1
        step = self._step((high - low) / 4)
        first, last = math.floor(low / step), math.ceil(round(high / step, 6))
        return first * step, last * step, [number * step for number in range(first, last + 1)]

    def _step(self, about: float) -> float:
        """A round distance of ticks, a little more than that."""
        if self.defaults["unit"] == "s" and about > 1:
            return next((each for each in TIMES_S if each >= about), about)
        step = _round(about)
        counts = self.defaults["unit"] == "short" and self.defaults.get("decimals") == 0
        return max(1, math.ceil(step)) if counts else step

    def _limits(self) -> list[float]:
        steps = self.defaults["thresholds"]["steps"]
        return [step["value"] for step in steps if step["value"] is not None]

    def _place(self, moment: float, value: float) -> Point:
        plot = self.plot
        x = plot.x + plot.w * (moment - plot.start) / (plot.end - plot.start)
        y = plot.y + plot.h * (1 - (max(value, self.low) - self.low) / (self.high - self.low))
        return x, y

    def _gap(self) -> float:
        """Points farther from each other than this have a gap between them."""
        return 1.5 * self.plot.step_s * self.plot.w / (self.plot.end - self.plot.start)

    def _axes(self, ticks: list[float]) -> Iterator[str]:
        plot = self.plot
        unit = str(self.defaults["unit"])
        for tick, words in zip(ticks, units.ticks(ticks, unit), strict=True):
            _, y = self._place(plot.start, tick)
            yield ink.line(plot.x, y, plot.x + plot.w, y, "grid")
            yield ink.text(plot.x - 6, y + 3.5, words, size=TICK_SIZE, fill="dim", at="end")
        for moment in _moments(plot):
            x, _ = self._place(moment, self.low)
            form = "%H:%M" if moment % 60 == 0 else "%H:%M:%S"
            words = datetime.fromtimestamp(moment, UTC).strftime(form)
            yield ink.line(x, plot.y + plot.h, x, plot.y + plot.h + 3, "edge")
            yield ink.text(x, plot.y + plot.h + 14, words, size=TICK_SIZE, fill="dim", at="middle")

    def _lines(self) -> Iterator[str]:
        gap = self._gap()
        for curve in reversed(self.drawn):
            points = [self._place(moment, value) for moment, value in curve.points]
            yield ink.path(_runs(points, gap), self.colours[curve.name])

    def _stack(self) -> Iterator[str]:
        """The largest lies lowest."""
        moments = sorted({moment for curve in self.drawn for moment, _ in curve.points})
        below = dict.fromkeys(moments, self.low)
        layers: list[str] = []
        gap = self._gap()
        for curve in self.drawn:
            values = dict(curve.points)
            above = {moment: below[moment] + values.get(moment, 0) for moment in moments}
            top = [self._place(moment, above[moment]) for moment in moments]
            colour = self.colours[curve.name]
            foot = [self._place(moment, below[moment]) for moment in moments]
            known = [point for point, moment in zip(top, moments, strict=True) if moment in values]
            layers.append(ink.area(top, foot, colour) + ink.path(_runs(known, gap), colour))
            below = above
        yield from reversed(layers)  # where a layer has no height, the one below it is seen

    def _thresholds(self) -> Iterator[str]:
        for step in self.defaults["thresholds"]["steps"]:
            value = step["value"]
            if value is not None and self.low < value <= self.high:
                colour = "red" if step["color"] == "green" else step["color"]
                _, y = self._place(self.plot.start, value)
                yield ink.line(self.plot.x, y, self.plot.x + self.plot.w, y, colour, dashed=True)

    def _legend(self) -> Iterator[list[tuple[float, str, str]]]:
        """Lines of (x, words, colour), as many as there is room for; the last tells what is not."""
        entries = []
        for curve in self.drawn:
            unit, decimals = self.defaults["unit"], self.defaults.get("decimals")
            moment, value = curve.points[-1]
            over = self.frame.end - moment > 2 * self.frame.step_s
            last = "" if over else units.shown(value, unit, decimals)
            entries.append((f"{curve.name} {last}".strip(), self.colours[curve.name]))
        if self.level:
            entries.append((f"always 0: {', '.join(self.level)}", ""))
        row: list[tuple[float, str, str]] = []
        used, rows, most = 0.0, 0, max(1, int(LEGEND_SHARE * self.frame.h / LEGEND_LINE))
        for place, (words, colour) in enumerate(entries):
            width = ink.wide(words, LEGEND_SIZE) + 26
            if row and used + width > self.frame.w:
                if rows + 1 == most:
                    row.append((self.frame.x + used, f"+{len(entries) - place}", ""))
                    break
                yield row
                row, used, rows = [], 0.0, rows + 1
            room = self.frame.w - used - 14
            row.append((self.frame.x + used, ink.fitted(words, LEGEND_SIZE, room), colour))
            used += width
        if row:
            yield row


def _runs(points: list[Point], gap: float) -> list[list[Point]]:
    """The points in runs without a gap so wide."""
    runs: list[list[Point]] = []
    for point in points:
        if not runs or point[0] - runs[-1][-1][0] > gap:
            runs.append([])
        runs[-1].append(point)
    return runs


def _round(about: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(about))
    return next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= about * 0.999)


def _moments(plot: Frame) -> list[float]:
    """Round times, as many as there is room for."""
    room = max(2, plot.w / 75)
    span = plot.end - plot.start
    step = next((each for each in TIMES_S[2:] if span / each <= room), TIMES_S[-1])
    first = math.ceil(plot.start / step) * step
    found = [first + step * number for number in range(int((plot.end - first) / step) + 1)]
    margin = 18 / plot.w * span
    return [moment for moment in found if plot.start + margin <= moment <= plot.end - margin]
