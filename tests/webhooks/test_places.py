"""Where an attempt goes: addresses judged at connect time, one after the other, and TLS."""

import contextlib
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest

from payments.webhooks import connections, names
from payments.webhooks.sender import Sender
from tests import certificates, receivers
from tests.receivers import Receiver
from tests.webhooks.attempts import (
    SLACK_S,
    TIMEOUT_S,
    bow_out,
    full_backlog,
    once,
    parcel,
    place,
    reset,
    timed,
    trusting,
)


class TestGuard:
    """In production: what the name resolves to now, not what it was when the URL was saved."""

    @pytest.fixture
    def guarded(self) -> Iterator[Sender]:
        with contextlib.closing(Sender(timeout_s=TIMEOUT_S, allow_private=False)) as made:
            yield made

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"]
    )
    def test_nothing_is_sent_inside(self, guarded, receiver, host):
        answer = guarded.send(parcel(f"http://{host}:{receiver.port}/hook"))
        assert answer.outcome == "blocked"
        assert "not a public address" in answer.detail
        assert receiver.received() == []

    def test_one_private_address_among_public_ones_is_enough(self, guarded, monkeypatch):
        places = [place("1.1.1.1", 443), place("10.0.0.1", 443)]
        monkeypatch.setattr(names, "lookup", lambda *_: places)
        assert guarded.send(parcel("https://shop.example/")).outcome == "blocked"

    def test_the_connection_goes_to_the_address_that_was_judged(
        self, guarded, receiver, monkeypatch
    ):
        """The resolver changes its mind between the check and the connect: it is not asked."""
        asked = []

        def lookup(host, port, _deadline):
            asked.append(host)
            return [place("192.0.3.77", receiver.port)]

        connected = []

        def connect(sock, sockaddr):
            connected.append(sockaddr)
            sock.real_connect(("127.0.0.1", receiver.port))

        monkeypatch.setattr(names, "lookup", lookup)
        monkeypatch.setattr(
            connections._Timed, "real_connect", socket.socket.connect, raising=False
        )
        monkeypatch.setattr(connections._Timed, "connect", connect, raising=False)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked again"))
        answer = guarded.send(parcel(f"http://shop.example:{receiver.port}/hook"))
        assert answer.outcome == "success"
        assert asked == ["shop.example"]
        assert connected == [("192.0.3.77", receiver.port)]
        (got,) = receiver.received()
        assert got.headers["host"] == f"shop.example:{receiver.port}"


class TestSeveralPlaces:
    """A name may stand for several addresses; one that answers is enough."""

    def test_the_next_one_is_tried(self, sender, receiver, monkeypatch, unused_port):
        places = [place("127.0.0.1", unused_port), place("127.0.0.1", receiver.port)]
        monkeypatch.setattr(names, "lookup", lambda *_: places)
        assert sender.send(parcel("http://shop.example/hook")).outcome == "success"

    def test_one_that_swallows_packets_takes_its_share_of_the_time(
        self, sender, receiver, monkeypatch
    ):
        with full_backlog() as deaf:
            places = [place("127.0.0.1", deaf), place("127.0.0.1", receiver.port)]
            monkeypatch.setattr(names, "lookup", lambda *_: places)
            answer, took_s = timed(sender, "http://shop.example/hook")
            assert answer.outcome == "success"
            assert TIMEOUT_S / 2 <= took_s < TIMEOUT_S
            monkeypatch.setattr(names, "lookup", lambda *_: places[:1])
            answer, took_s = timed(sender, "http://other.example/hook")
            assert answer.outcome == "timeout"
            assert took_s < TIMEOUT_S + SLACK_S


class TestTls:
    def test_the_name_and_the_certificate_are_verified(self, tmp_path):
        made = certificates.make(tmp_path)
        with Receiver(tls=made.server) as receiver, trusting(made) as sender:
            for _ in range(2):
                assert sender.send(parcel(receiver.url())).outcome == "success"
            named = receiver.url().replace("127.0.0.1", "localhost")
            assert sender.send(parcel(named)).outcome == "success"
            assert len(receiver.received()) == 3

    def test_a_certificate_for_another_name(self, tmp_path):
        made = certificates.make(tmp_path, address="192.0.2.1", names=("other.example",))
        with Receiver(tls=made.server) as receiver, trusting(made) as sender:
            answer = sender.send(parcel(receiver.url()))
            assert answer.outcome == "tls"
            assert "certificate does not hold" in str(answer.detail)
            assert receiver.received() == []

    def test_a_certificate_that_nobody_vouches_for(self, tmp_path, sender):
        made = certificates.make(tmp_path)
        with Receiver(tls=made.server) as receiver:
            assert sender.send(parcel(receiver.url())).outcome == "tls"

    def test_one_that_has_expired(self, tmp_path):
        made = certificates.make(tmp_path, valid_for=timedelta(days=-1))
        with Receiver(tls=made.server) as receiver, trusting(made) as sender:
            answer = sender.send(parcel(receiver.url()))
            assert (answer.outcome, "expired" in str(answer.detail)) == ("tls", True)

    def test_a_server_without_tls(self, sender, receiver):
        answer = sender.send(parcel(receiver.url().replace("http:", "https:")))
        assert answer.outcome == "tls"
        assert answer.detail.startswith("no TLS session: ")

    def test_a_server_that_hangs_up_in_the_handshake(self, sender):
        for leave in (bow_out, reset):
            with once(leave) as port:
                answer = sender.send(parcel(f"https://127.0.0.1:{port}/"))
                assert (answer.outcome, answer.detail[:16]) == ("tls", "no TLS session: ")

    def test_a_handshake_that_hangs_ends_at_the_deadline(self, sender):
        with full_backlog(backlog=8, fill=0) as port:
            answer, took_s = timed(sender, f"https://127.0.0.1:{port}/")
            assert answer.outcome == "timeout"
            assert took_s < TIMEOUT_S + SLACK_S

    def test_one_deadline_over_tls_too(self, tmp_path):
        made = certificates.make(tmp_path)
        with Receiver(tls=made.server) as receiver, trusting(made) as sender:
            receiver.script("/hook", receivers.drip_body(0.05))
            answer, took_s = timed(sender, receiver.url())
            assert answer.outcome == "timeout"
            assert took_s < TIMEOUT_S + SLACK_S
