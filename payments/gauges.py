"""What is read at the moment of a scrape: one value, or one for each label.

Each room declares its own; `api/metrics.py` asks them all. What asks the database says so, and is
left out while that does not answer.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily

from payments.errors import Busy

log = logging.getLogger(__name__)

Reading = float | Iterable[tuple[tuple[str, ...], float]]
"""A value, or pairs of label values and their value."""


@dataclass(frozen=True)
class Gauge:
    """One gauge. asks_database: whether reading it does."""

    name: str
    help: str
    labels: tuple[str, ...]
    asks_database: bool
    read: Callable[[], Reading]

    def family(self) -> GaugeMetricFamily:
        """What it reads now, for the exposition. Raises what reading raises."""
        found = self.read()
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        pairs = [((), found)] if isinstance(found, (int, float)) else found
        for labels, value in pairs:
            family.add_metric(labels, value)
        return family


DATABASE_UP = "payments_database_up"

GAUGES: dict[str, Gauge] = {}
"""Every gauge that was declared, by name."""


def gauge(
    name: str, help: str, *labels: str, asks_database: bool = True
) -> Callable[[Callable[[], Reading]], Callable[[], Reading]]:
    """Declare the function as what reads this gauge, in an app context, outside any unit."""

    def declare(read: Callable[[], Reading]) -> Callable[[], Reading]:
        GAUGES[name] = Gauge(name, help, labels, asks_database, read)
        return read

    return declare


def read_all() -> Iterator[GaugeMetricFamily]:
    """Every gauge, and whether the database answered: those that ask it are left out from the first
    that it kept waiting, so that a scrape of a stopped database still comes in time.
    """
    answers = True
    for one in GAUGES.values():
        if one.asks_database and not answers:
            continue
        try:
            yield one.family()
        except Busy:
            log.warning("the database does not answer a scrape", extra={"gauge": one.name})
            answers = False
    yield GaugeMetricFamily(
        DATABASE_UP, "Whether the database answered this scrape.", value=int(answers)
    )
