"""Where links lead, what they claim, and how often one may guess at the form."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from payments.api.console import guesses as guessing
from payments.api.console.sign_in import TRIES
from tests.console.desk import ANN, BOB, Desk, form_token, shown

PAGE = "/admin/console/limits"
SIGN_IN = "/admin/console/sign_in"


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "/admin//evil.example/",
     "/admin/audit", "/admin/config/fees", "/docs", "/admin/../v1/me", "/admin/console/nothing",
     SIGN_IN, "/admin/\nx", "javascript:alert(1)", "/admin/console/sign_out"],
)  # fmt: skip
def test_signing_in_leads_to_pages_of_the_console_alone(app, wanted):
    desk = Desk(app)
    answer = desk.client.post(SIGN_IN, data={"token": ANN, "next": wanted})
    assert answer.headers["Location"] == "/admin/"


def test_signing_in_leads_where_one_wanted_to_go(stranger):
    answer = stranger.get("/admin/console/audit?actor=operator:ann&x=1")
    assert answer.headers["Location"].startswith(f"{SIGN_IN}?next=")
    page = stranger.get(answer.headers["Location"])
    assert 'value="/admin/console/audit?actor=operator:ann&amp;x=1"' in page.text
    wanted = "/admin/console/audit?actor=operator:ann&x=1"
    signed_in = stranger.client.post(SIGN_IN, data={"token": ANN, "next": wanted})
    assert signed_in.headers["Location"] == wanted
    assert stranger.get(SIGN_IN).headers["Location"] == "/admin/"  # it is open already


@pytest.mark.parametrize("path", ["/admin", "/admin/rq", "/admin/rq/0"])
def test_another_spelling_leads_to_a_path_alone_and_is_kept_by_nobody(desk, stranger, path):
    for browser in (desk, stranger):
        answer = browser.get(f"{path}?a=1", headers={"Host": "evil.example"})
        assert (answer.status_code, answer.headers["Location"]) == (308, f"{path}/?a=1")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "evil" not in answer.text


ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}


def test_a_link_on_another_site_is_offered_and_never_followed_by_itself(stranger):
    answer = stranger.get(PAGE, headers=ELSEWHERE)
    assert answer.status_code == 200
    assert f'<a href="{PAGE}">' in answer.text
    assert "http-equiv" not in answer.text and "<script" not in answer.text
    odd = stranger.get(f'{PAGE}?x="><script>', headers=ELSEWHERE)
    assert "<script>" not in odd.text


@pytest.mark.parametrize(
    ("asked", "offered"),
    [("/admin/console/webhooks/a%2527%253E?x=%27", "/admin/console/webhooks/a%2527%253E?x=%27"),
     ("/admin/console/webhooks/%5C%5Cevil", "/admin/console/webhooks/%5C%5Cevil"),
     ("/admin/console/webhooks/%2e%2e", "/admin/"), ("/admin/console/webhooks/.", "/admin/")],
)  # fmt: skip
def test_where_it_leads_is_what_was_asked_for_quoted_anew(stranger, asked, offered):
    answer = stranger.get(asked, headers=ELSEWHERE)
    assert f'<a href="{offered}">' in answer.text
    to_sign_in = stranger.get(asked).headers["Location"]
    wanted = dict(parse_qsl(urlsplit(to_sign_in).query)).get("next", "/admin/")
    assert wanted == offered


def test_what_a_link_claims_was_done_is_not_said(desk):
    page = desk.get(f"{PAGE}?said=You+are+hacked")
    assert "hacked" not in page.text
    assert form_token(page) == desk.token


def test_what_was_done_is_said_to_who_did_it_alone(app, desk, stranger):
    told = desk.sends(f"{PAGE}/otp/revert").headers["Location"]
    assert 'role="status"' in desk.get(told).text
    other = Desk(app)
    other.sign_in(BOB)
    assert 'class="note good"' not in other.get(told).text
    signed = told.partition("said=")[2]
    assert 'class="note good"' not in stranger.get(f"{SIGN_IN}?said={signed}").text


def test_guessing_is_slowed_down_for_who_guesses(other):
    app = other(TRUSTED_PROXIES="1")
    guesser, ann = ({"X-Forwarded-For": f"203.0.113.{n}"} for n in (5, 6))
    for _ in range(TRIES):
        assert Desk(app).sign_in("guess" * 8, headers=guesser).status_code == 401
    answer = Desk(app).sign_in(ANN, headers=guesser)  # right, and still too late
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert "Wait" in shown(answer)
    assert Desk(app).sign_in(ANN, headers=ann).status_code == 303


def test_tries_are_counted_within_a_minute():
    guesses = guessing.Guesses()
    assert guesses.tries("a", 0.0) == (0, 0.0)
    guesses.note("a", 10.0)
    guesses.note("a", 11.0)
    assert guesses.tries("a", 30.0) == (2, 40.0)
    assert guesses.tries("b", 30.0) == (0, 0.0)
    assert guesses.tries("a", 71.0) == (0, 0.0)
    guesses.note("a", 71.0)
    assert guesses.tries("a", 72.0) == (1, 59.0)


def test_however_many_guess_each_of_them_is_counted(monkeypatch):
    guesses = guessing.Guesses()
    for number in range(1_000):
        guesses.note(f"198.51.{number}", 1.0)
    for _ in range(TRIES):
        guesses.note("203.0.113.9", 2.0)
    assert guesses.tries("203.0.113.9", 3.0) == (TRIES, 59.0)
    assert guesses.tries("198.51.7", 3.0)[0] == 1
    monkeypatch.setattr(guessing, "ADDRESSES", 2)
    guesses.note("198.51.7", 4.0)
    assert [guesses.tries(one, 5.0)[0] for one in ("203.0.113.9", "198.51.7", "198.51.8")] == [
        TRIES, 2, 0,
    ]  # fmt: skip
