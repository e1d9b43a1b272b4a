"""On a running service: every panel answers with data, pictures are drawn of the answers, and the
timeline of an incident tells what really happened.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from payments import clock, db, successes
from scripts import dashboards, incident_timeline, pictures
from scripts._prometheus import Prometheus, Series, Unanswered
from scripts.boards import asking, drawing
from tests import databases
from tests.children import wait_until
from tests.observability import stack, traffic
from tests.observability.stack import Stack
from tests.servers import Addresses

pytestmark = pytest.mark.slow

LOAD_S = 3.0
FIRING = 'ALERTS{alertname="ReadOnly",alertstate="firing"}'


@dataclass
class Loaded:
    """A stack that people have used. start, end: of the load."""

    stack: Stack
    start: datetime
    end: datetime

    def questions(self) -> Iterator[asking.Asked]:
        """What all panels of all boards ask."""
        made = dashboards.texts()
        for board in dashboards.BOARDS:
            yield from asking.questions(json.loads(made[f"dashboards/{board.file}"]), "20s", 60)


@pytest.fixture(scope="module")
def loaded(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """After a load with everything that panels ask about; some 20 s."""
    folder = tmp_path_factory.mktemp("stack")
    with stack.running(servers, folder, every_s=2, **traffic.SETTINGS) as running:
        _note_a_backup(running)
        start = clock.now()
        with traffic.trading(running, pause_s=0.3) as town:
            town.guesses()
            town.over.wait(LOAD_S)
            town.operator("config/read_only", on=True, reason="a drill")
            wait_until(lambda: fired_a_moment_ago(running), "ReadOnly to fire")
            town.operator("config/read_only", on=False, reason="it is over")
            town.over.wait(LOAD_S)
        running.scraped()
        wait_until(lambda: not running.prometheus.at(FIRING, clock.now()), "ReadOnly to end")
        yield Loaded(running, start, clock.now())


def fired_a_moment_ago(running: Stack) -> bool:
    return bool(running.prometheus.at(FIRING, clock.now() - timedelta(seconds=2)))


def _note_a_backup(running: Stack) -> None:
    """As scripts/backup.py does at its end."""
    settings = databases.settings_for(running.environ, running.folder)
    with databases.app_for(settings) as app, app.app_context():
        db.in_unit(lambda: successes.record(successes.BACKUP))


def nothing_is_known(loaded: Loaded, asked: asking.Asked) -> bool:
    found = asking.answers(loaded.stack.prometheus, asked, loaded.start, loaded.end, 1)
    return not any(series.points for series in found)


def test_every_panels_query_answers_with_data(loaded):
    asked = list(loaded.questions())
    assert len(asked) > 70
    silent = [each for each in asked if nothing_is_known(loaded, each)]
    assert [(each.panel["title"], each.expr) for each in silent] == []
    unknown = asking.Asked({}, "payments_no_such_metric", "", False)
    assert nothing_is_known(loaded, unknown)
    with pytest.raises(Unanswered, match="parse error"):
        loaded.stack.prometheus.at("sum(", loaded.end)


class Remembered(Prometheus):
    """Asks the live one once, and gives the same answer again."""

    def _ask(self, path: str, asked: dict[str, Any]) -> list[Series]:
        key = (path, *sorted(asked.items()))
        if key not in self.answers:
            self.answers[key] = super()._ask(path, asked)
        return self.answers[key]

    answers: dict[Any, list[Series]]


def test_the_same_answers_draw_the_same_picture(loaded):
    with closing(Remembered(loaded.stack.prometheus.url)) as prometheus:
        prometheus.answers = {}
        for text in dashboards.texts().values():
            if not text.startswith("{"):
                continue
            one, two = (
                drawing.picture(json.loads(text), prometheus, loaded.start, loaded.end, "Said.")
                for _ in range(2)
            )
            assert one == two


def test_pictures_are_drawn_of_every_panel(loaded, tmp_path, capsys):
    times = [clock.to_rfc3339(moment) for moment in (loaded.start, loaded.end)]
    asked = ["--prometheus", loaded.stack.prometheus.url, "--from", times[0], "--to", times[1]]
    assert pictures.main([*asked, "--out", str(tmp_path)]) == pictures.FINE
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(drawn) == {"payments.svg", "superapp_overview.svg"}
    for text in drawn.values():
        root = ElementTree.fromstring(text)
        words = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert not {"no data"} & set(words)
        assert any("not by Grafana" in each for each in words)
    assert pictures.main(["--prometheus", "http://127.0.0.1:1"]) == pictures.NOT_RUN
    assert "does not answer" in capsys.readouterr().err


def test_the_timeline_tells_what_happened(loaded, tmp_path: Path, capsys):
    log = tmp_path / "web.log"
    log.write_text(loaded.stack.web.log())
    settings = databases.settings_for(loaded.stack.environ, loaded.stack.folder)
    end = loaded.end + timedelta(seconds=1)
    arguments = [
        *("--from", clock.to_rfc3339(loaded.start), "--to", clock.to_rfc3339(end)),
        *("--prometheus", loaded.stack.prometheus.url, "--audit-log", str(log), "--json"),
    ]
    with databases.app_for(settings) as app, app.app_context():
        capsys.readouterr()
        assert incident_timeline.tell(incident_timeline._arguments(arguments)) == 0
    shown = json.loads(capsys.readouterr().out)
    what = [each["what"] for each in shown["timeline"]]
    order = [
        next(place for place, text in enumerate(what) if text.startswith(part))
        for part in ("read_only.on", "ReadOnly fires", "read_only.off", "ReadOnly ends")
    ]
    assert order == sorted(order)
    assert len([text for text in what if text.startswith("read_only.on")]) == 1
    assert shown["impact"]["answers_of_5xx_in_the_log"] > 0
    assert shown["impact"]["answers_of_5xx"] > 0
    assert shown["impact"]["callers_who_got_one"] > 0
    assert max(value or 0 for value in shown["rates"]["requests a second"]) > 0
    assert sum(shown["rates"]["payments paid"]) > 0
    assert "+49" not in json.dumps(shown)
