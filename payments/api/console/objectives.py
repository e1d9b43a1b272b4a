"""What is promised (slos.toml), as Prometheus has it: each objective now, and its budget left.

Prometheus is asked for the ratios that its own rules record (`scripts/alert_rules.py`), in two
questions with a short deadline and outside any unit of work. While it does not answer, the page
says so and shows all else.
"""

import json
import logging
import math
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from queue import Empty, Queue
from threading import BoundedSemaphore, Thread
from typing import Any

import requests

from payments import config

log = logging.getLogger(__name__)

FILE = config.ROOT / "ops" / "observability" / "slos.toml"
WINDOWS = {300: "5 min", 3600: "1 h", 21_600: "6 h", 259_200: "3 d"}
"""Of the windows that are recorded, those that are shown, in seconds."""
BUDGET_DAYS = 30
"""Each minute of them counts alike, as on the dashboard; those without traffic use nothing."""
CONNECT_S, ANSWER_S = 1.0, 2.0
WHOLE_S = 4.0
"""For both questions together."""
MOST_WAITING = 4
"""Threads of this process."""
MAX_ANSWER = 1 << 20


_WAITING = BoundedSemaphore(MOST_WAITING)


class Unanswered(Exception):
    """Prometheus said nothing that can be shown; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise. ratios: the part that went well, in %, by window; None: no traffic, or not yet
    recorded. left: of the budget of 30 days, in %, below 0 once it is overdrawn.
    """

    name: str
    says: str
    percent: float
    ratios: dict[str, float | None]
    left: float | None

    @property
    def state(self) -> str:
        """`good`, `warn`: under a quarter of the budget is left, `bad`: none is."""
        if self.left is None:
            return ""
        return "bad" if self.left <= 0 else "warn" if self.left < 25 else "good"


@lru_cache(maxsize=1)
def promised() -> dict[str, dict[str, Any]]:
    """The objectives by name, as `slos.toml` states them."""
    return tomllib.loads(FILE.read_text())


def read(url: str) -> list[Objective]:
    """Every objective, as this Prometheus has it, within `WHOLE_S`. Raises Unanswered.

    A socket's timeout begins anew with each byte, so whatever answers a byte at a time is left to a
    thread that ends with it. While `MOST_WAITING` of them wait, nobody is asked.
    """
    if not _WAITING.acquire(blocking=False):
        raise Unanswered("it does not answer")
    told: Queue[list[Objective] | Exception] = Queue(maxsize=1)

    def ask() -> None:
        try:
            told.put(_read(url))
        except Exception as failure:  # noqa: BLE001 (raised again, by who waits for it)
            told.put(failure)
        finally:
            _WAITING.release()

    Thread(target=ask, name="objectives", daemon=True).start()
    try:
        found = told.get(timeout=WHOLE_S)
    except Empty:
        log.warning("Prometheus does not answer in time")
        raise Unanswered("it does not answer in time") from None
    if isinstance(found, Exception):
        raise found
    return found


def _read(url: str) -> list[Objective]:
    windows = "|".join(str(window) for window in WINDOWS)
    now = {
        sample["metric"].get("__name__", ""): _value(sample)
        for sample in _ask(url, f'{{__name__=~"payments:[a-z_]+:bad_ratio_({windows})"}}')
    }
    spent = {
        sample["metric"].get("slo", ""): _value(sample) for sample in _ask(url, _spent_query())
    }
    return [_objective(name, facts, now, spent.get(name)) for name, facts in promised().items()]


def _spent_query() -> str:
    """The mean of each objective's bad ratio over the budget's time."""
    parts = [
        f"label_replace(avg_over_time((payments:{name}:bad_ratio_300 >= 0)[{BUDGET_DAYS}d:1m]),"
        f' "slo", "{name}", "", "")'
        for name in promised()
    ]
    return " or ".join(parts)


def _objective(
    name: str, facts: dict[str, Any], now: dict[str, float | None], spent: float | None
) -> Objective:
    budget = 100 - facts["objective"]
    ratios = {}
    for window, words in WINDOWS.items():
        bad = now.get(f"payments:{name}:bad_ratio_{window}")
        ratios[words] = None if bad is None else 100 * (1 - bad)
    left = None if spent is None else 100 * (1 - 100 * spent / budget)
    return Objective(name, facts["says"], facts["objective"], ratios, left)


def _ask(url: str, query: str) -> list[dict[str, Any]]:
    """The samples of an instant query."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no netrc: where it is, the setting says
            with session.get(
                f"{url.rstrip('/')}/api/v1/query",
                params={"query": query, "timeout": f"{ANSWER_S:g}s"},
                timeout=(CONNECT_S, ANSWER_S),
                allow_redirects=False,
                stream=True,
            ) as answer:
                raw = answer.raw.read(MAX_ANSWER + 1, decode_content=True)
        if len(raw) > MAX_ANSWER:
            raise Unanswered("its answer is too long")
        told = json.loads(raw)
        if answer.status_code != 200 or told["status"] != "success":
            raise Unanswered(f"it answers {answer.status_code}")
        found: list[dict[str, Any]] = told["data"]["result"]
        return found
    except requests.RequestException as failure:
        log.warning("Prometheus does not answer", extra={"failure": type(failure).__name__})
        raise Unanswered("it does not answer") from None
    except (ValueError, KeyError, TypeError, OSError) as failure:
        log.warning("Prometheus answers oddly", extra={"failure": type(failure).__name__})
        raise Unanswered("what it answers is not Prometheus's") from None


def _value(sample: dict[str, Any]) -> float | None:
    """A sample's value; None for NaN, which is what a ratio of no traffic is."""
    try:
        value = 0.0 + json.loads(sample["value"][1])
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return value if math.isfinite(value) else None
