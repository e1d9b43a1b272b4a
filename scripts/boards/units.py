"""Values as they are read, by the name that Grafana gives their unit."""

from collections.abc import Mapping, Sequence
from typing import Any

_TIMES = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""From which value on, divided by what, and its letter."""


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit; decimals: none given, three digits that count."""
    if unit == "percentunit":
        return f"{_plain(value * 100, decimals)} %"
    if unit == "s":
        return _time(value, decimals)
    if unit == "reqps":
        return f"{_short(value, decimals)} /s"
    if unit.startswith("suffix:"):
        suffix = unit.removeprefix("suffix:")
        return f"{_short(value, decimals)} {suffix.strip()}"
    return _short(value, decimals)


def ticks(values: Sequence[float], unit: str) -> list[str]:
    """The words beside an axis's lines, all of one size; what the legend says is left out."""
    if unit == "s":
        most = max(abs(value) for value in values)
        size, name = next(((s, n) for s, n in (*_TIMES, (1, "s")) if most >= 2 * s), (0.001, "ms"))
        return [f"{_plain(value / size, None)} {name}" for value in values]
    return [shown(value, "suffix:" if unit.startswith("suffix:") else unit).strip()
            for value in values]  # fmt: skip


def mapped(value: float, mappings: Sequence[Mapping[str, Any]]) -> Mapping[str, str] | None:
    """The text and colour that stand for a value, if any do."""
    for mapping in mappings:
        options = mapping["options"]
        if mapping["type"] == "value" and f"{value:g}" in options:
            found: Mapping[str, str] = options[f"{value:g}"]
            return found
        if mapping["type"] == "range" and value >= options["from"]:
            found = options["result"]
            return found
    return None


def colour(value: float, thresholds: Mapping[str, Any]) -> str:
    """The colour of the last step that the value has reached."""
    steps = thresholds["steps"]
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return str(reached[-1]["color"])


def _time(seconds: float, decimals: int | None) -> str:
    for size, name in _TIMES:
        if abs(seconds) >= 2 * size:
            return f"{_plain(seconds / size, decimals)} {name}"
    if seconds and abs(seconds) < 1:
        return f"{_plain(seconds * 1000, decimals)} ms"
    return f"{_plain(seconds, decimals)} s"


def _short(value: float, decimals: int | None) -> str:
    for begins, size, name in _SIZES:
        if abs(value) >= begins:
            return f"{_plain(value / size, None)} {name}"
    return _plain(value, decimals)


def _plain(value: float, decimals: int | None) -> str:
    if decimals is None:
        text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    else:
        text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
