"""Questions to a Prometheus over its HTTP API, version 1."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

TIMEOUT_S = 30.0
Number = float


class Unanswered(Exception):
    """Prometheus did not answer, or refused the question; the text says which and why."""


@dataclass(frozen=True)
class Series:
    """One series of an answer. points: (Unix seconds, value); what is no finite number is left out.

    samples: how many Prometheus gave, those included.
    """

    labels: Mapping[str, str]
    points: tuple[tuple[Number, Number], ...]
    samples: int

    @property
    def last(self) -> Number | None:
        """The newest value, if there is one."""
        return self.points[-1][1] if self.points else None


class Prometheus:
    """One Prometheus. url: such as `http://127.0.0.1:9090`, or with `user:password@` before it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.name = re.sub(r"(?<=://)[^/@]*@", "", self.url)
        self._session = requests.Session()

    def at(self, expr: str, moment: datetime) -> list[Series]:
        """The answer at one moment. Raises Unanswered."""
        return self._ask("query", {"query": expr, "time": moment.timestamp()})

    def over(self, expr: str, start: datetime, end: datetime, step_s: Number) -> list[Series]:
        """The answer from start to end, both included, a point for each step. Raises Unanswered."""
        asked = {"query": expr, "start": start.timestamp(), "end": end.timestamp(), "step": step_s}
        return self._ask("query_range", asked)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, path: str, asked: dict[str, Any]) -> list[Series]:
        try:
            answer = self._session.post(
                f"{self.url}/api/v1/{path}", data=asked, timeout=TIMEOUT_S, allow_redirects=False
            )
            told = answer.json()
        except requests.exceptions.JSONDecodeError:
            raise Unanswered(f"{self.name} is no Prometheus: {answer.status_code}") from None
        except requests.RequestException as fault:
            raise Unanswered(f"{self.name} does not answer: {type(fault).__name__}") from None
        if not isinstance(told, dict) or told.get("status") != "success":
            why = told.get("error", answer.status_code) if isinstance(told, dict) else "no object"
            raise Unanswered(f"{self.name} refused {asked['query']!r}: {why}")
        # Prometheus gives what it aggregates in any order.
        return sorted(_series(told["data"]), key=lambda each: sorted(each.labels.items()))


def _series(data: dict[str, Any]) -> list[Series]:
    if data["resultType"] == "scalar":
        return [Series({}, _points([data["result"]]), 1)]
    found = []
    for each in data["result"]:
        pairs = each.get("values") or [each["value"]]
        found.append(Series(each["metric"], _points(pairs), len(pairs)))
    return found


def _points(pairs: list[Any]) -> tuple[tuple[Number, Number], ...]:
    read = ((moment, number(text)) for moment, text in pairs)
    return tuple((moment, value) for moment, value in read if value is not None)


def number(text: str) -> Number | None:
    """A sample's value; None for one that is no finite number (NaN, +Inf, -Inf)."""
    if text in ("NaN", "+Inf", "-Inf"):
        return None
    value: Number = json.loads(text)
    return value
