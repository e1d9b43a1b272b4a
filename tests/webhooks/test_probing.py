"""How far one gets: each step that can fail is named, and the guard is that of deliveries."""

import socket
from datetime import timedelta

import pytest

from payments.clock import parse_rfc3339
from payments.webhooks import connections, names, probing
from payments.webhooks.names import Place
from tests import certificates
from tests.receivers import Receiver, answer, cut, hang, redirect

TIMEOUT_S = 1.0


def probe(url: str, **more):
    return probing.probe(url, **{"timeout_s": TIMEOUT_S, "allow_private": True, **more})


def test_all_the_way_to_an_answer(receiver):
    receiver.script("/hook", answer(405, after_s=0.2))
    found = probe(receiver.url("/hook?a=1"))
    assert (found["outcome"], found["detail"], found["tls"]) == ("success", None, None)
    (address,) = found["addresses"]
    assert (address["address"], address["public"]) == ("127.0.0.1", False)
    assert 0 <= address["connect_ms"] < 1000 and 0 <= found["lookup_ms"] < 1000
    assert found["answer"]["status"] == 405
    assert 200 <= found["answer"]["answer_ms"] < 1000
    (seen,) = receiver.received()
    assert (seen.method, seen.path, seen.body) == ("HEAD", "/hook?a=1", b"")
    assert not [name for name in seen.headers if name.startswith(("webhook-", "x-"))]


def test_a_redirect_is_an_answer_and_not_followed(receiver):
    receiver.script("/hook", redirect(receiver.url("/elsewhere")))
    found = probe(receiver.url("/hook"))
    assert (found["outcome"], found["answer"]["status"]) == ("success", 307)
    assert [seen.path for seen in receiver.received()] == ["/hook"]


def test_tls_with_its_chain(tmp_path):
    made = certificates.make(tmp_path)
    with Receiver(tls=made.server) as receiver:
        found = probe(receiver.url("/hook"), ca_file=str(made.authority))
        assert (found["outcome"], found["answer"]["status"]) == ("success", 200)
        assert [seen.method for seen in receiver.received()] == ["HEAD"]
    tls = found["tls"]
    assert tls["verified"] is True and tls["version"].startswith("TLSv1.")
    (own,) = tls["chain"]
    assert own["subject"] == own["issuer"] == "CN=receiver of tests"
    assert own["names"] == ["127.0.0.1", "localhost"]
    assert parse_rfc3339(own["not_before"]) < parse_rfc3339(own["not_after"])


@pytest.mark.parametrize(
    ("made_with", "trusts", "says"),
    [
        ({"valid_for": timedelta(days=-1)}, True, "expired"),
        ({"address": "192.0.2.1", "names": ("other.example",)}, True, "does not hold"),
        ({}, False, "does not hold"),
    ],
)
def test_a_chain_that_does_not_hold_is_shown_all_the_same(tmp_path, made_with, trusts, says):
    made = certificates.make(tmp_path, **made_with)
    with Receiver(tls=made.server) as receiver:
        found = probe(receiver.url(), ca_file=str(made.authority) if trusts else None)
        assert receiver.received() == []
    assert (found["outcome"], found["answer"]) == ("tls", None)
    assert says in found["detail"]
    assert found["tls"]["verified"] is False
    assert len(found["tls"]["chain"]) == 1


def test_a_server_without_tls(receiver):
    found = probe(receiver.url().replace("http:", "https:"))
    assert (found["outcome"], found["tls"]) == (
        "tls",
        {"verified": False, "version": None, "chain": []},
    )
    assert found["addresses"][0]["connect_ms"] is not None


def test_nobody_listens(unused_port):
    found = probe(f"http://127.0.0.1:{unused_port}/")
    assert found["outcome"] == "connect"
    assert found["addresses"][0]["detail"].startswith("no connection: ")


def test_a_name_that_does_not_resolve():
    found = probe("http://no-such-host.invalid/")
    assert (found["outcome"], found["addresses"], found["lookup_ms"]) == ("dns", [], None)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (hang(), "timeout"),
        (cut(b""), "connect"),
        (cut(b"HTTP/1.1 200 OK\r\nContent-Le"), "connect"),
        (cut(b"SSH-2.0-server\r\n"), "connect"),
    ],
)
def test_an_answer_that_does_not_come(receiver, behaviour, outcome):
    receiver.script("/hook", behaviour)
    found = probe(receiver.url("/hook"))
    assert (found["outcome"], found["answer"]) == (outcome, None)
    assert found["detail"]
    assert found["addresses"][0]["connect_ms"] is not None


def places(*addresses: str, port: int = 443) -> list[Place]:
    return [Place(socket.AF_INET, (address, port)) for address in addresses]


def test_a_private_address_is_never_connected_to(receiver, monkeypatch):
    found = probe(receiver.url(), allow_private=False)
    assert (found["outcome"], found["addresses"][0]["connect_ms"]) == ("blocked", None)
    monkeypatch.setattr(names, "lookup", lambda *_: places("1.1.1.1", "10.0.0.1"))
    tried = []
    monkeypatch.setattr(connections, "connect_to", lambda *given: tried.append(given))
    found = probe("https://shop.example/", allow_private=False)
    assert (found["outcome"], found["detail"]) == ("blocked", "10.0.0.1 is not a public address")
    assert [one["public"] for one in found["addresses"]] == [True, False]
    assert tried == [] and receiver.received() == []


def test_public_ones_are_tried_each(monkeypatch):
    monkeypatch.setattr(names, "lookup", lambda *_: places("1.1.1.1", "8.8.8.8"))
    faults = iter([TimeoutError(), ConnectionRefusedError(111, "Connection refused")])

    def fails(*_given):
        raise next(faults)

    monkeypatch.setattr(connections, "connect_to", fails)
    found = probe("https://shop.example/", allow_private=False)
    assert found["outcome"] == "connect"
    assert [one["detail"].partition(" ")[2][:24] for one in found["addresses"]] == [
        "connection within 0.2 s"[:24],
        "connection: Connection refused"[:24],
    ]


def test_a_dead_address_among_others_is_seen(receiver, monkeypatch):
    both = [*places("127.0.0.1", port=receiver.port), *places("127.0.0.2", port=receiver.port)]
    monkeypatch.setattr(names, "lookup", lambda *_: both)
    found = probe("http://shop.example/hook")
    assert found["outcome"] == "success"
    assert [one["connect_ms"] is None for one in found["addresses"]] == [False, True]


def test_a_chain_as_newer_pythons_tell_it():
    class Socket:
        def get_unverified_chain(self) -> list[bytes]:
            return [b"one", b"two"]

    assert probing.chain_of(Socket()) == [b"one", b"two"]


def test_what_is_no_certificate_has_nulls():
    assert set(probing.certificate(b"garbage").values()) == {None}
