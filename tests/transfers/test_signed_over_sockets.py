"""Signed requests through gunicorn: what is signed is what was on the wire."""

import hashlib
import hmac
import http.client
import json
import secrets
import time
from contextlib import closing

import pytest

from tests.processes import Web, web
from tests.transfers.people import ANN, SETTINGS, TAXI

pytestmark = pytest.mark.slow


def send(
    service: Web, method: str, target: str, body: bytes = b"", key: str = "", before: str = ""
) -> tuple:
    """Sign and send exactly these bytes; status and JSON of the answer.

    before: goes in front of the target, unsigned.
    """
    timestamp, nonce = str(int(time.time())), secrets.token_urlsafe(24)
    digest = hashlib.sha256(body).hexdigest()
    text = f"{timestamp}\n{nonce}\n{method}\n{target}\n{key}\n{digest}"
    headers = {
        "X-Internal-Timestamp": timestamp,
        "X-Internal-Nonce": nonce,
        "X-Internal-Signature": hmac.new(TAXI.encode(), text.encode(), "sha256").hexdigest(),
    }
    headers |= {"Content-Type": "application/json"} if body else {}
    headers |= {"Idempotency-Key": key} if key else {}
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        connection.request(method, before + target, body=body or None, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_what_is_signed_is_what_was_on_the_wire(environ, tmp_path):
    signed_only = environ | SETTINGS | {"INTERNAL_REQUIRE_HMAC": "true"}
    facts = {"phone": ANN, "amount": 5_00, "currency": "EUR", "external_reference": "ä b+c"}
    body = json.dumps(facts, ensure_ascii=False, indent=1).encode()
    with web(signed_only, tmp_path, workers=1) as service:
        status, made = send(service, "POST", "/internal/deposits", body, key='"k 1"')
        assert status == 201
        # A retry signs anew, with the same key; it may spell the key bare.
        assert send(service, "POST", "/internal/deposits", body, key="k 1") == (201, made)
        for reference in ("%C3%A4%20b%2Bc", "%c3%a4+b%2bc"):
            target = f"/internal/deposits?external_reference={reference}&limit=5"
            status, page = send(service, "GET", target)
            assert (status, page["data"]) == (200, [made])
        status, wallets = send(service, "GET", "/internal/wallets?phone=%2b" + ANN[1:])
        assert (status, wallets["data"][0]["balance"]) == (200, 5_00)
        # As a proxy asks: the host in front of the path is no part of what is signed.
        assert send(service, "GET", "/internal/deposits?limit=1", before="http://x")[0] == 200
