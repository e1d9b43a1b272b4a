"""The pages: readable without anything from elsewhere, and true."""

import base64
import hashlib
import hmac
import html
import re
import time
from functools import cache

import pytest

from payments.api import guards, signatures
from payments.api.routing import routes_of
from payments.events.types import EVENT_TYPES

PAGES = ["/docs", "/docs/errors"]


@pytest.fixture
def guide(echo_client) -> str:
    return echo_client.get("/docs").text


def code_with(page: str, text: str) -> str:
    """The code block of the page that holds this text."""
    blocks = [
        html.unescape(found) for found in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.S)
    ]
    (block,) = [block for block in blocks if text in block]
    return block


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_another_host(client, path):
    page = client.get(path)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    loaded = re.findall(
        r'<(?:link|script|img|iframe|source)[^>]*?(?:href|src)="([^"]*)"', page.text
    )
    assert loaded == ["/docs/style.css"]
    assert "<script" not in page.text and "style=" not in page.text
    assert "@import" not in client.get("/docs/style.css").text
    assert client.get("/docs/style.css").mimetype == "text/css"
    assert "script-src" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", [*PAGES, "/docs/style.css"])
def test_a_page_is_asked_for_again_only_when_it_changed(client, path):
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_the_root_leads_a_browser_to_the_guide(client):
    answer = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs")
    followed = client.get("/", follow_redirects=True)
    assert (followed.status_code, followed.request.path) == (200, "/docs")


def test_every_link_within_leads_somewhere(echo_client):
    read = cache(lambda url: echo_client.get(url))  # once each: there is a budget a minute
    for path in PAGES:
        page = read(path).text
        for target in set(re.findall(r'href="([^"]*)"', page)):
            if target.startswith("https://www.standardwebhooks.com"):
                continue
            url, _, anchor = html.unescape(target).partition("#")
            answer = read(url or path)
            assert answer.status_code == 200, target
            assert not anchor or f'id="{anchor}"' in answer.text, target


def test_every_route_scope_and_event_type_is_on_it(echo_app, guide):
    for facts in routes_of(echo_app):
        assert f'id="{facts.tag}.{facts.name}"' in guide
    for name in (*guards.SCOPES, *EVENT_TYPES):
        assert f"<code>{name}</code>" in guide


def test_ids_stand_once(guide):
    ids = re.findall(r' id="([^"]*)"', guide)
    assert len(set(ids)) == len(ids)


def test_what_comes_from_code_is_escaped(guide):
    assert "&lt;access token&gt;" in guide
    assert "<access" not in guide


def test_the_signer_on_the_page_makes_every_vector(guide):
    told: dict = {}
    exec(code_with(guide, "def sign("), told)  # noqa: S102 (our own page)
    for vector in signatures.VECTORS:
        shown = told["sign"](
            vector.secret, int(vector.timestamp), vector.nonce, vector.method, vector.target,
            vector.idempotency_key, vector.body.encode(),
        )  # fmt: skip
        assert shown == vector.signature
        for fact in (vector.secret, vector.nonce, vector.target, vector.signature):
            assert html.escape(fact) in guide


def test_the_verifier_on_the_page_takes_the_right_signature_alone(guide):
    told: dict = {}
    exec(code_with(guide, "def verify("), told)  # noqa: S102 (our own page)
    key, body = b"k" * 32, b'{"id":"evt_1"}'
    secret = "whsec_" + base64.b64encode(key).decode()

    def headers(sent_at: int, *signatures: str) -> dict[str, str]:
        signed = f"evt_1.{sent_at}.".encode() + body
        right = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        shown = [one or f"v1,{right}" for one in signatures]
        return {"webhook-id": "evt_1", "webhook-timestamp": str(sent_at),
                "webhook-signature": " ".join(shown)}  # fmt: skip

    now = int(time.time())
    assert told["verify"](secret, headers(now, ""), body)
    assert told["verify"](secret, headers(now, "v1,b2xk", ""), body)
    assert not told["verify"](secret, headers(now, "v1,b2xk"), body)
    assert not told["verify"](secret, headers(now, ""), body + b" ")
    assert not told["verify"](secret, headers(now - 301, ""), body)
    assert not told["verify"](secret, headers(now + 302, ""), body)
