"""What a Prometheus has seen of an incident comes into its timeline: the history is backfilled."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from payments import clock
from scripts._prometheus import Prometheus
from scripts.incidents import telling, watched
from scripts.incidents.telling import Told
from tests.observability import stack

START = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
MINUTES = 40
EVERY_S = 15
WEB = 'job="payments",instance="a:8080"'
REQUESTS = 'http_requests_total{method="POST",route="/v1/payments",status="%s",job="payments"}'


def samples(name: str, value, minutes: tuple[float, float] = (0, MINUTES)) -> Iterator[str]:
    """A series in OpenMetrics: a value for each scrape, by minutes since the start."""
    first, last = (int(minute * 60) for minute in minutes)
    for second in range(first, last, EVERY_S):
        told = value(second / 60) if callable(value) else value
        yield f"{name} {told} {START.timestamp() + second:.0f}"


def down(minute: float) -> int:
    return 0 if 10 <= minute < 12 else 1


def history() -> str:
    """At 10 min the web server is away for 2, back with another release; at 20 a worker is lost."""
    scrapes = f'http_request_duration_seconds_count{{route="/metrics",{WEB}}}'
    lines = [
        *samples(f"up{{{WEB}}}", down),
        *samples(f'payments_build_info{{version="0.1.0",{WEB}}}', 1, (0, 10)),
        *samples(f'payments_build_info{{version="0.2.0",{WEB}}}', 1, (12, MINUTES)),
        *samples(scrapes, lambda minute: 1000 + 4 * minute, (0, 10)),
        *samples(scrapes, lambda minute: 4 * (minute - 12), (12, MINUTES)),
        *samples(f'payments_rq_workers{{queue="payments",{WEB}}}', lambda m: 1 if m >= 20 else 2),
        *samples(REQUESTS % 200, lambda minute: 600 * minute),
        *samples(REQUESTS % 503, lambda minute: 30 * max(0, min(minute, 25) - 20)),
        *samples('ALERTS{alertname="Watchdog",alertstate="firing",severity="info"}', 1),
        *samples(alert("ServiceDown", "page"), 1, (11, 13)),
        *samples(alert("ErrorsBudgetBurn", "page", 'slo="errors",burn="14.4"'), 1, (22, MINUTES)),
        *samples(alert("WebhookEndpointDown", "ticket"), 1, (0, 5)),
        *samples('ALERTS{alertname="QueueStuck",alertstate="pending",severity="page"}', 1),
    ]
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def alert(name: str, severity: str, more: str = 'of="it"') -> str:
    return f'ALERTS{{alertname="{name}",alertstate="firing",severity="{severity}",{more}}}'


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("history")
    with stack.prometheus(folder, 1, every_s=60, history=history()) as running:
        yield running


@pytest.fixture(scope="module")
def told(prometheus: Prometheus) -> Told:
    end = START + timedelta(minutes=MINUTES - 1)
    made = Told(START + timedelta(minutes=1), end, timedelta(minutes=5))
    made.watched = watched.watch(prometheus, made.start, made.end, made.step)
    made.happenings = made.watched.happenings
    return made


def minute_of(moment: datetime) -> float:
    return (moment - START).total_seconds() / 60


pytestmark = pytest.mark.slow


def test_releases_outages_workers_and_alerts_are_told_when_they_happened(told):
    found = [(each.what, minute_of(each.at)) for each in told.sorted()]
    what = [each for each, _ in found]
    expected = {
        "WebhookEndpointDown (it) fires already": 1,
        "a:8080 does not answer": 10,
        "ServiceDown (it) fires": 11,
        "a:8080 answers again": 12,
        "release 0.2.0 answers": 12,
        "the web server a:8080 was started anew": 12,
        "workers: 2 → 1": 20,
        "ErrorsBudgetBurn (14.4) fires": 22,
    }
    times = dict(found)
    for name, minute in expected.items():
        assert times[name] == pytest.approx(minute, abs=0.3), name
    assert set(what) == {
        *expected,
        "WebhookEndpointDown (it) ends",
        "ServiceDown (it) ends",
        "release 0.1.0 answers no more",
    }
    assert what.index("ServiceDown (it) fires") < what.index("ServiceDown (it) ends")


def test_rates_are_told_step_by_step_and_faults_in_all(told):
    rates = told.watched.rates
    assert len(rates["5xx"]) == 8
    assert rates["requests a second"][1] == pytest.approx(10, rel=0.1)
    assert sum(rates["5xx"]) == pytest.approx(150, rel=0.1)
    assert [round(value / 10) for value in rates["5xx"]][:3] == [0, 0, 0]
    assert told.watched.faults == pytest.approx(150, rel=0.1)
    assert rates["p95, ms"] == [None] * 8


def test_it_reads_as_markdown(told):
    text = "\n".join(telling.markdown(told))
    assert "| deploy | release 0.2.0 answers | metrics |" in text
    assert "| alert | ErrorsBudgetBurn (14.4) fires | page |" in text
    assert "| 5xx | `▁▁▁▂█▁▁▁` | 120 | 150 |" in text
    assert "| p95, ms | `········` | unknown |  |" in text
    assert "- Answers of 5xx: 1" in text
