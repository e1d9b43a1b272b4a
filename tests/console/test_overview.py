"""The first page: what alerts look at, and what Prometheus says of the objectives, or does not."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import BoundedSemaphore, Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from payments import config
from payments.api.console import objectives, overview, pages
from payments.errors import Busy
from tests.children import wait_until
from tests.console.desk import Desk, fail, shown

Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def prometheus(answer: Answer) -> Iterator[str]:
    """Something that answers queries; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the library's name)
            parts = urlsplit(self.path)
            status, body = answer(parse_qs(parts.query)["query"][0])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/prom"
        finally:
            server.shutdown()
            thread.join()


def samples(*found: tuple[dict[str, str], str]) -> tuple[int, bytes]:
    result = [{"metric": metric, "value": [1.0, value]} for metric, value in found]
    told = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return 200, json.dumps(told).encode()


def known(query: str) -> tuple[int, bytes]:
    """Errors are few, latency has eaten its budget, nothing is known of deliveries."""
    if "avg_over_time" in query:
        return samples(
            ({"slo": "uptime"}, "0"), ({"slo": "errors"}, "0.0008"), ({"slo": "latency"}, "0.06"),
            ({"slo": "delivery"}, "NaN"),
        )  # fmt: skip
    return samples(
        ({"__name__": "payments:errors:bad_ratio_300"}, "0.002"),
        ({"__name__": "payments:errors:bad_ratio_3600"}, "0.0005"),
        ({"__name__": "payments:uptime:bad_ratio_300"}, "0"),
        ({"__name__": "payments:latency:bad_ratio_300"}, "NaN"),
    )


def test_without_prometheus_it_says_so_and_shows_what_rows_know(app, desk, world):
    with app.app_context():
        fail(world)
    text = shown(desk.get("/admin/"))
    assert "Prometheus is not configured" in text
    for told in ("Backlog", "Overdue", "Endpoints failing 1", "Ledger sound", "Backup never",
                 "Workers 0", "99.9 %: requests are answered"):  # fmt: skip
        assert told in text, told


def test_objectives_now_and_what_is_left_of_their_budgets(other):
    with prometheus(known) as url:
        desk = Desk(other(PROMETHEUS_URL=url))
        desk.sign_in()
        text = shown(desk.get("/admin/"))
    assert "100 % of the budget of 30 days is left" in text  # uptime
    assert "20 % of the budget of 30 days is left" in text  # errors: 0.08 of 0.1 % used
    assert "-20 % of the budget of 30 days is left" in text  # latency: 6 of 5 % used
    assert "budget unknown" in text  # delivery
    assert "99.800 %" in text and "99.950 %" in text and "no traffic" in text
    assert "not configured" not in text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda query: (500, b"{}"), "it answers 500"),
        (lambda query: (503, b'{"status": "error"}'), "it answers 503"),
        (lambda query: (200, b"<html>"), "what it answers is not"),
        (lambda query: (200, b'{"status": "success", "data": 5}'), "what it answers is not"),
        (lambda query: (200, b"[]"), "what it answers is not"),
        (lambda query: (200, b" " * (objectives.MAX_ANSWER + 5)), "its answer is too long"),
        (lambda query: (302, b'{"status": "error"}'), "it answers 302"),
    ],
)
def test_a_prometheus_that_says_nothing_of_use_is_told_as_such(answer, said):
    with prometheus(answer) as url, pytest.raises(objectives.Unanswered, match=said):
        objectives.read(url)


def test_one_that_says_nothing_of_use_costs_a_line(other):
    with prometheus(lambda query: (503, b'{"status": "error"}')) as url:
        desk = Desk(other(PROMETHEUS_URL=url))
        desk.sign_in()
        page = desk.get("/admin/")
    assert page.status_code == 200
    assert "Prometheus can't be shown: it answers 503" in shown(page)
    assert "Backlog" in page.text


def test_a_prometheus_that_answers_a_byte_at_a_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(objectives, "WHOLE_S", 0.3)
    monkeypatch.setattr(objectives, "_WAITING", BoundedSemaphore(1))
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not over.wait(0.05):
                    connection.send(b"H")

        dripping = Thread(target=drip)
        dripping.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        try:
            began = time.monotonic()
            with pytest.raises(objectives.Unanswered, match="in time"):
                objectives.read(url)
            assert time.monotonic() - began < 3
            with pytest.raises(objectives.Unanswered, match="it does not answer$"):
                objectives.read(url)  # the one thread still waits
        finally:
            over.set()
            dripping.join()
    with prometheus(known) as url:
        wait_until(lambda: objectives._WAITING._value == 1, "the thread to end")
        assert objectives.read(url)


def test_a_prometheus_that_is_not_there_costs_a_line(other):
    desk = Desk(other(PROMETHEUS_URL="http://127.0.0.1:9/"))
    desk.sign_in()
    assert "Prometheus can't be shown: it does not answer" in shown(desk.get("/admin/"))


def test_prometheus_reads_the_question_about_budgets_as_it_is_meant(tmp_path):
    """By promtool: an hour with 2 in 1000 bad, one without traffic, one without a fault."""
    asked = objectives._spent_query().replace("[30d:", "[4h:")  # promtool holds 10,000 samples
    values = " ".join(["0.002"] * 60 + ["NaN"] * 60 + ["0"] * 60)
    test = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": "payments:errors:bad_ratio_300", "values": values}],
                "promql_expr_test": [
                    {
                        "expr": f"round(100000 * ({asked}))",
                        "eval_time": "179m",
                        "exp_samples": [{"labels": '{slo="errors"}', "value": 100}],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "budget.yml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def test_odd_samples_are_unknown():
    assert [objectives._value({"value": [1, text]}) for text in ("0.5", "+Inf", "NaN", "x")] == [
        0.5, None, None, None,
    ]  # fmt: skip
    assert objectives._value({}) is None


def test_a_database_that_does_not_answer_is_one_bad_tile(app, monkeypatch):
    def busy() -> list[overview.Fact]:
        raise Busy

    monkeypatch.setattr(overview, "_webhooks", busy)
    with app.app_context():
        facts = overview._facts()
    assert [(fact.name, fact.state) for fact in facts][-1] == ("Database", "bad")


def test_every_entry_of_the_runbook_that_pages_name_is_there(app):
    runbook = (config.ROOT / "ops" / "RUNBOOK.md").read_text()
    headings = {name.lower() for name in re.findall(r"^### (\w+)$", runbook, re.MULTILINE)}
    folder = config.ROOT / "payments" / "api" / "templates" / "console"
    pages_name = {
        entry
        for page in folder.glob("*.html")
        for entry in re.findall(r"Runbook: <code>#(\w+)", page.read_text())
    }
    with app.app_context():
        told = {fact.entry for fact in overview._facts() if fact.entry}
    assert len(told) > 6 and len(pages_name) == 2
    assert told | pages_name | {"databaseslow"} <= headings


def test_without_redis_there_is_no_queue_to_show(other):
    desk = Desk(other(REDIS_URL=""))
    desk.sign_in()
    text = shown(desk.get("/admin/"))
    assert "Workers" not in text and "redis: not configured" in text


def test_a_redis_that_is_gone_is_told(other):
    desk = Desk(other(REDIS_URL="redis://127.0.0.1:9/0"))
    desk.sign_in()
    text = shown(desk.get("/admin/"))
    assert "degraded" in text and "Redis does not answer" in text


def test_spans_of_time_in_words():
    spans = [0, 59, 119, 120, 7199, 7200, 172_800]
    assert [pages.lasting(s) for s in spans] == ["0 s", "59 s", "119 s", "2 min", "119 min", "2 h",
                                                "2 d"]  # fmt: skip
    assert (pages.ago(None), pages.moment(None)) == ("never", "never")
