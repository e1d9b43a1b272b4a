"""Messages: on the console for development, by a gateway (a real HTTP server) otherwise."""

import json
import logging
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from payments import config
from payments.customers import sms
from tests import certificates
from tests.children import wait_until
from tests.customers.people import PHONE, Person
from tests.databases import environ_for
from tests.receivers import Receiver, answer, babble, cut, drip_head, hang, redirect

GATEWAY = "/send?account=7"


@pytest.fixture
def receiver():
    """A gateway."""
    with Receiver() as made:
        yield made


@pytest.fixture
def by_gateway(make_app, settings):
    """`by_gateway(url)`: somebody whose codes go out by that gateway."""

    def make(url: str, **more: str) -> Person:
        app = make_app(SMS_BACKEND="http", SMS_HTTP_URL=url, **more)
        return Person(app.test_client(), settings.instance_dir / "sms.log")

    return make


@pytest.fixture
def errors(caplog):
    """`errors()`: what was logged as an error, once there is something. No thread is left then."""

    def logged() -> list[logging.LogRecord]:
        wait_until(lambda: _errors(caplog), "an error in the log", 10)
        wait_until(lambda: not _sending(), "the messages' threads to end", 10)
        return _errors(caplog)

    return logged


def _errors(caplog) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def _sending() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sms"]


def test_the_console_file_is_for_its_owner_alone(person, settings):
    person.challenge()
    person.challenge()
    log = settings.instance_dir / "sms.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    first, second = log.read_text().splitlines()
    assert first.startswith(f"OTP {PHONE} ")
    assert second.startswith(f"OTP {PHONE} ")


def test_the_gateway_gets_number_and_code(by_gateway, receiver, settings):
    person = by_gateway(receiver.url(GATEWAY), SMS_HTTP_AUTHORIZATION="Bearer gateway-7")
    asked = person.asks()
    (request,) = receiver.wait_for(1)
    assert (request.method, request.path) == ("POST", GATEWAY)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer gateway-7"
    message = json.loads(request.body)
    assert sorted(message) == ["text", "to"]
    assert message["to"] == PHONE
    digits = [word for word in message["text"].split() if word.isdigit() and len(word) == 6]
    assert len(digits) == 1
    assert person.tries(asked.json["challenge_id"], digits[0]).status_code == 200
    assert not (settings.instance_dir / "sms.log").exists()


def test_without_an_authorization_none_is_sent(by_gateway, receiver):
    by_gateway(receiver.url()).asks()
    (request,) = receiver.wait_for(1)
    assert "authorization" not in request.headers


def test_a_user_in_the_url_is_basic_authorization(by_gateway, receiver):
    by_gateway(receiver.url().replace("127", "us%20er:pa%3Ass@127", 1)).asks()
    (request,) = receiver.wait_for(1)
    assert request.headers["authorization"] == "Basic dXMgZXI6cGE6c3M="
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_a_proxy_of_the_environment_is_not_used(by_gateway, receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    by_gateway(receiver.url()).asks()
    receiver.wait_for(1)


def test_a_slow_gateway_holds_up_no_answer(by_gateway, receiver):
    receiver.script("/hook", answer(after_s=30))
    person = by_gateway(receiver.url())
    begun = time.monotonic()
    assert person.asks().status_code == 202
    assert time.monotonic() - begun < 5
    receiver.wait_for(1)


def test_an_interim_answer_is_read_over(by_gateway, receiver, caplog):
    receiver.script("/hook", cut(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))
    by_gateway(receiver.url()).asks()
    receiver.wait_for(1)
    wait_until(lambda: not _sending(), "the message's thread to end", 10)
    assert _errors(caplog) == []


@pytest.mark.parametrize("status", [199, 302, 401, 500])
def test_a_refusal_is_logged_without_number_and_code(by_gateway, receiver, errors, capfd, status):
    if status == 302:
        receiver.script("/hook", redirect(receiver.url("/elsewhere"), 302))
    elif status == 199:
        receiver.script("/hook", cut(b"HTTP/1.1 199 Odd\r\n\r\n"))
    else:
        receiver.script("/hook", answer(status))
    assert by_gateway(receiver.url()).asks().status_code == 202
    (record,) = errors()
    assert getattr(record, "status", None) == (None if status == 199 else status)
    assert receiver.received("/elsewhere") == []
    code = json.loads(receiver.received("/hook")[0].body)["text"].split()[0]
    shown = capfd.readouterr()
    for text in (shown.out, shown.err, str(record.__dict__)):
        assert code not in text
        assert PHONE not in text


@pytest.mark.parametrize("behaviour", [hang(), drip_head(0.05)])
def test_one_deadline_holds_for_everything(by_gateway, receiver, errors, monkeypatch, behaviour):
    monkeypatch.setattr(sms, "DEADLINE_S", 0.3)
    receiver.script("/hook", behaviour)
    begun = time.monotonic()
    by_gateway(receiver.url()).asks()
    (record,) = errors()
    assert "in time" in record.getMessage()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("behaviour", [cut(b""), babble(), cut(b"x" * 100_000)])
def test_what_is_not_http_is_a_failure(by_gateway, receiver, errors, behaviour):
    receiver.script("/hook", behaviour)
    by_gateway(receiver.url()).asks()
    (record,) = errors()
    assert "could not be reached" in record.getMessage()


def test_a_name_with_several_addresses_is_reached_by_one_that_listens(
    by_gateway, receiver, monkeypatch
):
    """Nobody listens on the first one."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *more: Any, **named: Any) -> list:
        if host != "gateway.example":  # Redis, of whom the limiter asks
            return real(host, port, *more, **named)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.99", "127.0.0.1", "127.0.0.1")
        ]

    monkeypatch.setattr(sms.socket, "getaddrinfo", resolve)
    by_gateway(receiver.url().replace("127.0.0.1", "gateway.example")).asks()
    (request,) = receiver.wait_for(1)
    assert request.headers["host"] == f"gateway.example:{receiver.port}"


ENDS_AT_ONCE = """
import sys
from pathlib import Path
from payments import config
from payments import config
from payments.customers import sms
environ = dict(line.split("=", 1) for line in sys.stdin.read().splitlines())
config.use(config.load_settings(environ, root=Path(environ["INSTANCE_DIR"])))
sms.send("+4915112345678", "042137")
"""


def test_a_process_that_ends_sends_its_last_message_first(receiver, tmp_path):
    receiver.script("/hook", answer(after_s=0.3))
    url = receiver.url().replace("127.0.0.1", "localhost")
    environ = environ_for("sqlite:///x.db", tmp_path, SMS_BACKEND="http", SMS_HTTP_URL=url)
    ended = subprocess.run(
        [sys.executable, "-c", ENDS_AT_ONCE],
        input="\n".join(f"{name}={value}" for name, value in environ.items()),
        capture_output=True,
        text=True,
        cwd=config.ROOT,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    (request,) = receiver.received()
    assert "042137" in json.loads(request.body)["text"]


def test_nobody_listening_is_a_failure(by_gateway, errors):
    with Receiver() as gone:
        url = gone.url()
    by_gateway(url).asks()
    (record,) = errors()
    assert record.__dict__["fault"] == "ConnectionRefusedError"


def test_tls_is_verified(by_gateway, errors, tmp_path, monkeypatch):
    certificate = certificates.make(tmp_path)
    with Receiver(tls=certificate.server) as secure:
        by_gateway(secure.url()).asks()
        (record,) = errors()
        assert record.__dict__["fault"] == "SSLCertVerificationError"
        assert secure.received() == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        by_gateway(secure.url()).asks()
        (request,) = secure.wait_for(1)
        assert json.loads(request.body)["to"] == PHONE


def test_a_hanging_gateway_does_not_pile_up_threads(by_gateway, receiver, errors, monkeypatch):
    monkeypatch.setattr(sms, "DEADLINE_S", 1.0)
    monkeypatch.setattr(sms, "_free", threading.BoundedSemaphore(2))
    receiver.script("/hook", hang())
    person = by_gateway(receiver.url())
    assert [person.asks().status_code for _ in range(4)] == [202] * 4
    assert len(_sending()) == 2
    messages = sorted(record.getMessage() for record in errors())
    assert messages[0].startswith("the SMS gateway did not answer")
    assert messages[-2:] == ["the SMS gateway is hanging: a message was not sent"] * 2
    receiver.script("/hook", answer())
    person.phone = "+4915155555555"
    person.asks()
    receiver.wait_for(3)
    # A thread that outlives this test would give its place back to another semaphore.
    wait_until(lambda: not _sending(), "the last message's thread to end")
