"""Each request: its id, where it came from, its line in the log, its headers."""

import logging
import re

import pytest

from payments.api import requests
from tests.api import echo
from tests.api.conftest import ADMIN


def test_a_request_id_is_made_and_differs(client):
    made = [client.get("/health/live").headers["X-Request-ID"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"rid_[0-9a-f]{32}", one) for one in made)


def test_a_request_id_that_came_along_is_kept(client):
    answer = client.get("/nowhere", headers={"X-Request-ID": "trace-42.a_B"})
    assert answer.headers["X-Request-ID"] == answer.json["request_id"] == "trace-42.a_B"


@pytest.mark.parametrize("shown", ["", "short", "x" * 65, "with space 1", "semi;colon-1", "é" * 10])
def test_what_is_no_request_id_is_replaced(client, shown):
    answer = client.get("/nowhere", headers={"X-Request-ID": shown.encode().decode("latin-1")})
    assert answer.headers["X-Request-ID"].startswith("rid_")


def test_the_request_id_is_in_the_audit_trail(echo_app, operator):
    headers = {"X-Request-ID": "trace-4711"}
    operator.post("/admin/things/pay_1/end", json={}, headers=headers)
    with echo_app.app_context():
        assert [row.request_id for row in echo.TRAIL.all(action="thing.end")] == ["trace-4711"]


def test_security_headers_are_on_every_answer(client):
    for path in ("/health/live", "/nowhere", "/docs", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in headers
        assert "Set-Cookie" not in headers


def test_over_tls_browsers_are_told_to_stay_there(make_app):
    client = make_app(PUBLIC_URL="https://pay.example").test_client()
    assert "max-age" in client.get("/health/live").headers["Strict-Transport-Security"]


def test_one_line_a_request_with_the_template_and_never_the_path(echo_app, caplog):
    with caplog.at_level(logging.INFO, "payments.access"):
        echo_app.test_client().get("/admin/others/hush?reference=hush", headers=ADMIN)
    (line,) = [record for record in caplog.records if record.name == "payments.access"]
    facts = {key: value for key, value in vars(line).items() if not key.startswith("_")}
    assert facts["route"] == "/admin/others/<code>"
    assert (facts["method"], facts["status"], facts["caller"]) == ("GET", 200, "operator:ann")
    assert facts["duration_ms"] >= 0
    assert "hush" not in str(facts)


def test_a_refusal_s_line_has_its_code_and_an_unmatched_path_no_name(client, caplog):
    with caplog.at_level(logging.INFO, "payments.access"):
        client.open("/secret/path", method="BREW")
    (line,) = [record for record in caplog.records if record.name == "payments.access"]
    facts = vars(line)
    assert (facts["route"], facts["status"], facts["code"]) == ("unmatched", 404, "not_found")
    assert facts["method"] == "OTHER"
    assert "secret" not in str(facts)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:5678", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "unknown"),
        ("", "unknown"),
        ("1.2.3", "unknown"),
        ("'; DROP TABLE", "unknown"),
    ],
)
def test_an_address_is_plain(text, address):
    assert requests.plain_address(text) == address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        ("0", "1.1.1.1", "198.51.100.1"),
        ("1", None, "198.51.100.1"),
        ("1", "1.1.1.1", "1.1.1.1"),
        ("1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("1", "6.6.6.6, 7.7.7.7, 1.1.1.1", "1.1.1.1"),
        ("2", "6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("2", "1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("2", "6.6.6.6", "198.51.100.1"),
        ("1", "6.6.6.6,", "198.51.100.1"),
        ("1", "1.1.1.1:9999", "1.1.1.1"),
        ("1", '"6.6.6.6, 1.1.1.1', "1.1.1.1"),
        ("1", '6.6.6.6, ", 1.1.1.1', "1.1.1.1"),
        ("1", "6.6.6.6, gibberish", "unknown"),
    ],
)
def test_proxies_are_counted_from_the_right(make_app, proxies, forwarded, address):
    app = make_app(TRUSTED_PROXIES=proxies)
    seen = []
    app.before_request(lambda: seen.append(requests.current().client_address))
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    client = app.test_client()
    client.get("/health/live", headers=headers, environ_overrides={"REMOTE_ADDR": "198.51.100.1"})
    assert seen == [address]


def test_a_forged_host_or_scheme_changes_nothing_that_is_answered(make_app):
    app = make_app(TRUSTED_PROXIES="1", PUBLIC_URL="https://pay.example")
    answer = app.test_client().get(
        "/nowhere",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example",
                 "X-Forwarded-Prefix": "/evil", "Forwarded": "for=6.6.6.6;host=evil.example"},
    )  # fmt: skip
    assert "evil" not in answer.text
    assert answer.json["type"] == "https://pay.example/docs/errors#not_found"


@pytest.mark.parametrize("path", ["//admin/audit", "//health/live", "/%2Fhealth/live"])
def test_a_path_with_two_slashes_is_nobodys(client, path):
    """A proxy that keeps `/admin` to itself does not know it by that name."""
    answer = client.get("/", environ_overrides={"PATH_INFO": path.replace("%2F", "/")})
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert "RateLimit" in answer.headers
