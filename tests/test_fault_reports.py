"""Errors reach a collector that speaks Sentry's protocol, and carry nothing secret there."""

import gzip
import json
import logging
from collections.abc import Iterator

import pytest
import sentry_sdk

from payments import fault_reports
from tests.receivers import Receiver

log = logging.getLogger("payments.tests")


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def reporting(make_settings, collector) -> Iterator[Receiver]:
    fault_reports.configure(make_settings(SENTRY_DSN=f"http://key@127.0.0.1:{collector.port}/1"))
    yield collector
    sentry_sdk.get_client().close(timeout=2)
    fault_reports.configure(make_settings())


def events(receiver: Receiver) -> list[dict[str, object]]:
    """The events of all envelopes that came in: each is a header line, then item and payload."""
    sentry_sdk.flush(timeout=5)
    found = []
    for one in receiver.received():
        body = gzip.decompress(one.body) if one.headers.get("content-encoding") else one.body
        lines = body.split(b"\n")
        for head, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(head)["type"] == "event":
                found.append(json.loads(payload))
    return found


def test_an_error_is_reported_with_its_traceback_and_without_secrets(reporting, settings):
    token = settings.jwt_secret[0]

    def fails(phone: str) -> None:
        raise ValueError(f"{phone} had {token}")

    try:
        fails("+4915112345678")
    except ValueError:
        log.exception("it failed", extra={"payment_id": "pay_1", "code": "123456"})
    (event,) = events(reporting)
    text = json.dumps(event)
    assert event["logger"] == "payments.tests" and event["environment"] == "development"
    assert "it failed" in text and "pay_1" in text and "in fails" not in text
    assert '"function": "fails"' in text
    for secret in ("15112345678", token, "123456"):
        assert secret not in text
    assert '"vars"' not in text


def test_what_is_no_error_is_not_reported(reporting):
    log.warning("a word of warning")
    assert events(reporting) == []


def test_without_an_address_nothing_is_sent(reporting, make_settings):
    fault_reports.configure(make_settings())
    log.error("unheard")
    assert events(reporting) == []


def test_a_collector_that_is_gone_changes_nothing(make_settings):
    fault_reports.configure(make_settings(SENTRY_DSN="http://key@127.0.0.1:9/1"))
    try:
        log.error("unheard")
    finally:
        sentry_sdk.get_client().close(timeout=2)
        fault_reports.configure(make_settings())


def test_the_app_reports(make_app, collector, make_settings):
    app = make_app(SENTRY_DSN=f"http://key@127.0.0.1:{collector.port}/1")

    def fail() -> None:
        raise ZeroDivisionError

    app.before_request(fail)
    try:
        assert app.test_client().get("/health/live").status_code == 500
        (event,) = events(collector)
        assert "ZeroDivisionError" in json.dumps(event)
    finally:
        sentry_sdk.get_client().close(timeout=2)
        fault_reports.configure(make_settings())
