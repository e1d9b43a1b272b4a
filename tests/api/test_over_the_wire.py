"""What only a real server shows: bodies in chunks, hang-ups, heads that are too long."""

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests

from tests.databases import SECRETS
from tests.processes import Web, web

pytestmark = pytest.mark.slow

SERVICE = {
    "X-Internal-Secret": SECRETS["INTERNAL_API_SECRET"].partition(":")[2],
    "Content-Type": "application/json",
}
PATH = "/internal/deposits"


@pytest.fixture
def service(environ, tmp_path) -> Iterator[Web]:
    with web({**environ, "TRUSTED_PROXIES": "1"}, tmp_path, workers=1) as made:
        yield made


def deposit() -> bytes:
    facts = {"phone": "+4915112345678", "amount": 5, "currency": "EUR", "external_reference": "x"}
    return json.dumps(facts).encode()


def test_bodies_over_the_wire(service):
    def sends(body: bytes | Iterator[bytes]) -> tuple[int, str | None]:
        headers = SERVICE | {"Idempotency-Key": uuid.uuid4().hex}
        answer = requests.post(service.url(PATH), data=body, headers=headers, timeout=10)
        return answer.status_code, answer.json().get("code")

    whole = deposit()
    assert sends(whole) == (201, None)
    assert sends(iter([whole[:9], whole[9:]])) == (200, None)
    assert sends(whole + b" " * (65_536 - len(whole))) == (200, None)
    assert sends(whole + b" " * 65_536) == (413, "body_too_large")
    assert sends(iter([whole, *[b" " * 8192] * 8])) == (413, "body_too_large")
    assert sends(iter([whole, b"{}"])) == (400, "malformed_json")
    assert sends(b"") == (400, "malformed_json")
    assert requests.get(service.url("/health"), timeout=5).status_code == 200


def raw(service: Web, request: bytes) -> bytes:
    """What comes back for these very bytes."""
    address = urlsplit(service.url())
    with closing(socket.create_connection((address.hostname, address.port), timeout=10)) as wire:
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        found = b""
        while part := wire.recv(65_536):
            found += part
    return found


def test_what_is_no_http_is_refused_and_the_service_goes_on(service):
    for request in (
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"POST /v1/auth/otp HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/auth/otp HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/auth/otp HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello",
    ):
        answer = raw(service, request)
        assert answer == b"" or answer.split(b" ", 2)[1].startswith(b"4"), (request[:60], answer)
    assert requests.get(service.url("/health/live"), timeout=5).status_code == 200


def test_a_body_that_never_comes_whole_is_no_body(service):
    whole = deposit()
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"X-Internal-Secret: {SERVICE['X-Internal-Secret']}\r\n"
        "Content-Type: application/json\r\nIdempotency-Key: k\r\n"
        f"Content-Length: {len(whole) + 100}\r\n\r\n"
    ).encode() + whole
    answer = raw(service, request)
    assert answer == b"" or answer.split(b" ", 2)[1].startswith(b"4")
    listed = requests.get(service.url(PATH), headers=SERVICE, timeout=5).json()
    assert listed["data"] == []


def test_headers_named_with_underscores_are_not_credentials(service):
    """`X_Internal_Secret` and `X-Internal-Secret` look alike to WSGI; a proxy lets one through."""
    answer = raw(
        service,
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"X_Internal_Secret: {SERVICE['X-Internal-Secret']}\r\n\r\n".encode(),
    )
    assert answer.split(b" ", 2)[1] in (b"400", b"401")
