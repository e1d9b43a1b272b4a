"""One attempt against real receivers that behave as badly as they can."""

import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from payments.webhooks import connections
from payments.webhooks.sender import retry_after_s
from tests import receivers
from tests.receivers import Receiver
from tests.webhooks.attempts import (
    SECRET,
    SLACK_S,
    TIMEOUT_S,
    count_dials,
    once,
    parcel,
    reset,
    take_request,
    timed,
)


def test_what_arrives_is_what_was_signed(sender, receiver):
    body = '{"name":"Käse 🧀"}'.encode()
    answer = sender.send(parcel(receiver.url("/hook?x=1"), body))
    assert (answer.outcome, answer.http_status, answer.detail) == ("success", 200, None)
    (got,) = receiver.received()
    assert (got.method, got.path, got.body) == ("POST", "/hook?x=1", body)
    Webhook(SECRET).verify(got.body, dict(got.headers))
    assert got.headers["x-delivery-id"] == "dlv_1"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "cookie" not in got.headers


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "success"),
        (204, "success"),
        (299, "success"),
        (301, "http_3xx"),
        (307, "http_3xx"),
        (400, "http_4xx"),
        (410, "http_4xx"),
        (429, "http_4xx"),
        (500, "http_5xx"),
        (503, "http_5xx"),
        (199, "connect"),
        (600, "connect"),
    ],
)
def test_the_status_decides(sender, receiver, status, outcome):
    receiver.script("/hook", receivers.answer(status))
    answer = sender.send(parcel(receiver.url()))
    assert (answer.outcome, answer.http_status) == (outcome, status)


def test_a_redirect_is_not_followed(sender, receiver):
    receiver.script("/hook", receivers.redirect(receiver.url("/elsewhere")))
    assert sender.send(parcel(receiver.url())).outcome == "http_3xx"
    assert [got.path for got in receiver.received()] == ["/hook"]


@pytest.mark.parametrize(
    "behaviour",
    [
        receivers.hang(),
        receivers.drip_head(0.05),
        receivers.drip_body(0.05),
        receivers.answer(after_s=30),
    ],
    ids=["hang", "drip the head", "drip the body", "late"],
)
def test_one_deadline_for_the_whole_exchange(sender, receiver, behaviour):
    receiver.script("/hook", behaviour)
    answer, took_s = timed(sender, receiver.url())
    assert answer.outcome == "timeout"
    assert answer.detail == "no complete answer within 0.6 s"
    assert TIMEOUT_S <= took_s < TIMEOUT_S + SLACK_S
    assert TIMEOUT_S * 1000 <= answer.latency_ms < (TIMEOUT_S + SLACK_S) * 1000


def test_a_receiver_that_takes_nothing_in_is_late_too(sender):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        begun = time.monotonic()
        answer = sender.send(parcel(url, b"x" * 50_000_000))
        assert answer.outcome == "timeout"
        assert time.monotonic() - begun < TIMEOUT_S + SLACK_S


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (receivers.cut(), "closed in the middle of the answer"),
        (receivers.cut(b""), "closed without an answer"),
        (receivers.cut(b"HTTP/1.1 200"), "closed in the middle"),
        (receivers.cut(b"HTTP/1.1 200 OK\r\nContent-Le"), "closed in the middle"),
        (receivers.babble(), "not HTTP"),
        (
            receivers.babble(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "middle",
        ),
    ],
    ids=["cut", "mute", "cut status", "cut head", "babble", "bad chunks"],
)
def test_a_broken_answer_is_no_success(sender, receiver, behaviour, detail):
    receiver.script("/hook", behaviour)
    answer = sender.send(parcel(receiver.url()))
    assert answer.outcome == "connect"
    assert detail in answer.detail


def test_the_first_2_kib_are_kept_whatever_the_bytes(sender, receiver):
    receiver.script("/hook", receivers.answer(500, b"a\x00b\xff" + "ä".encode() * 4000))
    answer = sender.send(parcel(receiver.url()))
    assert answer.response.startswith("a�b�ääää")
    assert len(answer.response.encode("utf-8", "replace")) <= 2048 + 8
    assert "\0" not in answer.response


def test_an_endless_answer_is_read_a_little_and_judged_by_its_status(sender, receiver):
    receiver.script("/hook", receivers.flood(200), receivers.flood(500))
    answer, took_s = timed(sender, receiver.url())
    assert (answer.outcome, len(answer.response or "")) == ("success", 2048)
    assert took_s < TIMEOUT_S
    answer, took_s = timed(sender, receiver.url())
    assert (answer.outcome, len(answer.response or "")) == ("http_5xx", 2048)


def test_a_connection_is_kept_for_the_next_attempt(sender, receiver, monkeypatch):
    dialled = count_dials(monkeypatch)
    for _ in range(5):
        assert sender.send(parcel(receiver.url())).outcome == "success"
    assert dialled == [receiver.port]


def test_a_kept_connection_that_died_is_no_failed_attempt(sender, monkeypatch):
    """The receiver closes idle connections, just when the next request is on its way."""
    served = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _peer = listener.accept()
                with connection:
                    take_request(connection)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    served.set()
                    take_request(connection)  # the next one: no answer, and closed

        thread = threading.Thread(target=serve)
        thread.start()
        dialled = count_dials(monkeypatch)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert sender.send(parcel(url)).outcome == "success"
        assert served.wait(5)
        assert sender.send(parcel(url)).outcome == "success"
        assert len(dialled) == 2
        sender.close()
        thread.join()


def test_an_answer_that_breaks_off_is_a_failed_attempt_on_a_kept_connection_too(sender, receiver):
    receiver.script("/hook", receivers.answer(), receivers.cut(), receivers.answer())
    assert sender.send(parcel(receiver.url())).outcome == "success"
    assert sender.send(parcel(receiver.url())).outcome == "connect"
    assert len(receiver.received()) == 2


def test_an_answer_that_breaks_is_no_dead_connection(sender, receiver):
    """It was heard: sent again at once it would be a second try that nobody counts."""
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    receiver.script("/hook", receivers.answer(), receivers.cut(broken), receivers.answer())
    assert sender.send(parcel(receiver.url())).outcome == "success"
    answer = sender.send(parcel(receiver.url()))
    assert (answer.outcome, "middle of the answer" in str(answer.detail)) == ("connect", True)
    assert len(receiver.received()) == 2


def test_a_connection_that_was_closed_meanwhile_is_not_used(sender, monkeypatch):
    dialled = count_dials(monkeypatch)
    with Receiver() as first:
        port = first.port
        assert sender.send(parcel(first.url())).outcome == "success"
    assert sender.send(parcel(f"http://127.0.0.1:{port}/hook")).outcome == "connect"
    assert dialled == [port, port]


def test_a_connection_that_idled_too_long_is_not_used(sender, receiver, monkeypatch):
    monkeypatch.setattr(connections, "IDLE_S", 0)
    dialled = count_dials(monkeypatch)
    for _ in range(2):
        assert sender.send(parcel(receiver.url())).outcome == "success"
    assert len(dialled) == 2


def test_connections_are_kept_to_so_many_hosts(sender, receiver, monkeypatch):
    monkeypatch.setattr(connections, "HOSTS_KEPT", 1)
    dialled = count_dials(monkeypatch)
    for host in ("127.0.0.1", "localhost", "localhost", "127.0.0.1"):
        url = receiver.url().replace("127.0.0.1", host)
        assert sender.send(parcel(url)).outcome == "success"
    assert len(dialled) == 3


def test_a_connection_that_is_reset_is_a_failed_attempt(sender):
    with once(reset) as port:
        answer = sender.send(parcel(f"http://127.0.0.1:{port}/"))
    assert answer.outcome == "connect"
    assert "reset" in str(answer.detail)


def test_an_answer_that_closes_its_connection_is_not_kept(sender, monkeypatch):
    def serve(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nthat was it")
        connection.close()

    with once(serve) as port:
        answer = sender.send(parcel(f"http://127.0.0.1:{port}/"))
        assert (answer.outcome, answer.response) == ("success", "that was it")


def test_nobody_listens(sender, unused_port):
    answer = sender.send(parcel(f"http://127.0.0.1:{unused_port}/"))
    assert (answer.outcome, answer.http_status) == ("connect", None)
    assert "refused" in answer.detail


def test_a_name_that_does_not_resolve(sender):
    answer = sender.send(parcel("http://nowhere.invalid/"))
    assert answer.outcome == "dns"


def test_a_lookup_that_hangs_ends_at_the_deadline(sender, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    answer, took_s = timed(sender, "http://slow.example/")
    assert answer.outcome == "dns"
    assert took_s < TIMEOUT_S + SLACK_S
    over.set()


def test_environment_proxies_are_not_used(sender, receiver, monkeypatch, unused_port):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")
    assert sender.send(parcel(receiver.url())).outcome == "success"


MOMENT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("0", 0),
        (" 120 ", 120),
        ("99999999999999999999", 86_400),
        ("Sun, 01 Mar 2026 09:02:00 GMT", 120),
        ("Sun, 01 Mar 2026 09:02:00 -0000", 120),
        ("Sun, 01 Mar 2026 08:00:00 GMT", 0),
        ("Sun, 01 Mar 2099 08:00:00 GMT", 86_400),
        ("Sun, 99 Mar 2026 09:02:00 GMT", None),
        ("Sun, 01 Mar 99999999999 09:02:00 GMT", None),
        ("Sun, 01 Mar 2026 09:02:00 +99999999999999", None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after_s(value, MOMENT) == seconds


def test_what_the_receiver_asks_for_comes_with_the_answer(sender, receiver):
    receiver.script("/hook", receivers.answer(429, retry_after=7))
    assert sender.send(parcel(receiver.url())).retry_after_s == 7


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * 1_000_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000,
    ],
)
def test_an_answer_that_goes_on_and_on_is_given_up(sender, receiver, sent, monkeypatch):
    """A chunk of size -1 would be read to the end, all of it into memory."""
    monkeypatch.setattr(connections, "HEARD_BYTES", 100_000)
    receiver.script("/hook", receivers.babble(sent))
    answer = sender.send(parcel(receiver.url()))
    assert (answer.outcome, answer.http_status) == ("connect", None)
    assert answer.detail == "the answer goes on and on"
