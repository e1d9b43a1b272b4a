"""The receiver behaves as scripted: what a sender sees is tested against a plain socket client."""

import http.client
import socket
import ssl
import time

import pytest

from tests import certificates, receivers
from tests.receivers import Receiver, answer


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


def post(receiver, path="/hook", body=b"{}", timeout=5.0, **headers):
    """Status, headers and body of one POST."""
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=timeout)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_requests_are_kept_as_they_came(receiver):
    assert post(receiver, body=b'{"a": 1}', **{"X-Delivery-ID": "dlv_1"})[0] == 200
    (kept,) = receiver.wait_for(1, "/hook")
    assert (kept.method, kept.body, kept.headers["x-delivery-id"]) == ("POST", b'{"a": 1}', "dlv_1")
    assert kept.at.tzinfo is not None
    assert receiver.received("/other") == []
    receiver.forget()
    assert receiver.received() == []


def test_a_script_is_played_and_its_last_line_stays(receiver):
    receiver.script("/hook", answer(500), answer(429, b"slow", retry_after=2), receivers.gone())
    seen = [post(receiver) for _ in range(4)]
    assert [status for status, _, _ in seen] == [500, 429, 410, 410]
    assert seen[1][1]["Retry-After"] == "2"
    assert seen[1][2] == b"slow"
    assert post(receiver, "/other")[0] == 200


def test_it_redirects(receiver):
    receiver.script("/hook", receivers.redirect(receiver.url("/elsewhere")))
    status, headers, _ = post(receiver)
    assert (status, headers["Location"]) == (307, receiver.url("/elsewhere"))


def test_it_hangs_but_not_beyond_its_own_end():
    begun = time.monotonic()
    with Receiver() as receiver:
        receiver.script("/hook", receivers.hang())
        with pytest.raises(TimeoutError):
            post(receiver, timeout=0.2)
        assert len(receiver.received()) == 1
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("behaviour", [receivers.drip_head(0.02), receivers.drip_body(0.02)])
def test_it_drips_so_that_no_single_read_times_out(receiver, behaviour):
    receiver.script("/hook", behaviour)
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=0.5) as connection:
        connection.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        begun = time.monotonic()
        while time.monotonic() - begun < 1:
            assert connection.recv(1000)


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (receivers.cut(), http.client.IncompleteRead),
        (receivers.cut(b""), http.client.RemoteDisconnected),
        (receivers.babble(), http.client.BadStatusLine),
    ],
)
def test_it_breaks_off_or_speaks_another_language(receiver, behaviour, fault):
    receiver.script("/hook", behaviour)
    with pytest.raises(fault):
        post(receiver)


def test_it_floods_until_hung_up_on(receiver):
    receiver.script("/hook", receivers.flood())
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    connection.request("POST", "/hook", b"")
    response = connection.getresponse()
    assert len(response.read(3_000_000)) == 3_000_000
    response.close()
    connection.close()


def test_it_answers_late(receiver):
    receiver.script("/hook", answer(200, after_s=0.3))
    begun = time.monotonic()
    assert post(receiver)[0] == 200
    assert time.monotonic() - begun >= 0.3


def test_a_behaviour_that_fails_fails_the_test():
    def broken(handler):
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup, match="own faults"), Receiver() as receiver:
        receiver.script("/hook", broken)
        with pytest.raises(http.client.RemoteDisconnected):
            post(receiver)


def test_it_speaks_tls_with_a_certificate_that_only_its_maker_vouches_for(tmp_path):
    tls = certificates.make(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tls.authority))
    with Receiver(tls=tls.server) as receiver:
        for context, trusted in ((trusting, True), (ssl.create_default_context(), False)):
            connection = http.client.HTTPSConnection(
                "127.0.0.1", receiver.port, timeout=5, context=context
            )
            if trusted:
                connection.request("POST", "/hook", b"")
                assert connection.getresponse().status == 200
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    connection.request("POST", "/hook", b"")
            connection.close()
        assert len(receiver.received()) == 1


def test_an_idle_connection_does_not_keep_it_open():
    with Receiver() as receiver:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
        connection.request("POST", "/hook", b"")
        assert connection.getresponse().read() == b""
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    connection.close()
