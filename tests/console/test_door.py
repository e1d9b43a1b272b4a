"""The door: who gets in, how long they stay, and what nobody can make them send."""

from datetime import datetime, timedelta

import pytest

from payments import clock, ids, origin
from payments.api.console import sessions
from payments.api.console.door import pages_of
from payments.db import Sql, in_unit
from payments.webhooks import backlog
from tests.console.desk import ANN, BOB, COOKIE, Desk, shown

PAGE = "/admin/console/limits"
SIGN_IN = "/admin/console/sign_in"
AGE = Sql("UPDATE console_sessions SET created_at = :began, last_used_at = :used WHERE id = :id")
ROW = Sql("SELECT last_used_at FROM console_sessions WHERE id = :id")
COUNT = Sql("SELECT count(*) FROM console_sessions")


def leads_in(answer) -> bool:
    """Whether it shows nothing but the way to the door."""
    return answer.status_code == 303 and answer.headers["Location"].startswith(SIGN_IN)


def used_at(desk: Desk) -> datetime:
    """When the session was last used, as noted."""
    with desk.app.app_context():
        found: datetime = ROW.scalar(id=session_id(desk))
        return found


def session_id(desk: Desk) -> str:
    """The row of the desk's session."""
    with desk.app.app_context():
        found = sessions.of_cookie(desk.cookie(), in_use=False)
        assert found is not None
        return found.id


def age(desk: Desk, began_s: float, used_s: float) -> None:
    """Let the desk's session be so old, and so long unused."""
    made = session_id(desk)
    with desk.app.app_context():
        began, used = (clock.now() - timedelta(seconds=s) for s in (began_s, used_s))
        in_unit(lambda: AGE.run(id=made, began=began, used=used))


def test_every_page_is_shut_to_who_has_not_signed_in(app, stranger):
    for page in pages_of(app):
        if page.open:
            continue
        path = page.rule.replace("<int:instance_number>", "0").replace("<int:page>", "1")
        path = path.replace("<int:per_page>", "8").replace("<", "").replace(">", "")
        answer = stranger.client.open(path, method=page.method)
        if answer.status_code == 308:  # another spelling of a page that is here as well
            assert answer.headers["Location"].startswith("/admin/rq/")
        elif page.method == "GET":
            assert leads_in(answer), page
            assert stranger.client.head(path).status_code == 303
        else:
            assert answer.status_code == 401, page
            assert "nothing was done" in shown(answer)


def test_a_wrong_token_is_told_so_and_noted_without_it(other):
    stranger = Desk(other(TRUSTED_PROXIES="1"))
    whence = {"X-Forwarded-For": "203.0.113.77"}
    answer = stranger.sign_in("guess-0123456789-0123456789-abcdef", headers=whence)
    assert (answer.status_code, answer.mimetype) == (401, "text/html")
    assert "not known" in shown(answer) and "guess-" not in answer.text
    assert "Set-Cookie" not in answer.headers
    (line, *_) = stranger.trail(action="console.sign_in", actor="address:203.0.113.77")
    assert line["outcome"] == "unauthenticated"
    assert "guess" not in str(line)


def test_a_right_token_opens_by_a_cookie_of_its_own(stranger):
    answer = stranger.sign_in()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/")
    name, *parts = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=") and ANN not in name
    assert set(parts) >= {"HttpOnly", "SameSite=Strict", "Path=/admin", "Max-Age=28800"}
    assert "Secure" not in parts and not any(part.startswith("Domain") for part in parts)
    assert stranger.get("/admin/").status_code == 200
    (line, *_) = stranger.trail(action="console.sign_in", actor="operator:ann")
    assert line["outcome"] == "done"


def test_over_tls_the_cookie_travels_by_tls_alone(other):
    desk = Desk(other(PUBLIC_URL="https://pay.example"))
    answer = desk.client.post(
        SIGN_IN, data={"token": ANN}, headers={"Origin": "https://pay.example"}
    )
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=") and "; Secure" in cookie
    assert "; Path=/;" in f"{cookie};" and "Domain" not in cookie
    plain = desk.client.post(SIGN_IN, data={"token": ANN}, headers={"Origin": "http://localhost"})
    assert plain.status_code == 403


@pytest.mark.parametrize("tossed", ["garbage", None])
def test_of_two_cookies_neither_opens_anything(app, desk, tossed):
    ours = desk.cookie()
    if tossed is None:
        bob = Desk(app)
        bob.sign_in(BOB)
        tossed = bob.cookie()
    both = {"Cookie": f"{COOKIE}={tossed}; {COOKIE}={ours}"}
    client = app.test_client(use_cookies=False)
    for method, path in (("GET", PAGE), ("POST", f"{PAGE}/otp/revert")):
        answer = client.open(path, method=method, headers=both, data={"form_token": desk.token})
        assert answer.status_code == 401
        assert "Sign in again" in shown(answer) and "two sessions" in shown(answer)
        ended = answer.headers["Set-Cookie"]
        assert ended.startswith(f"{COOKIE}=;") and "Max-Age=0" in ended and "Path=/admin" in ended
    assert client.get(SIGN_IN, headers=both).status_code == 200
    assert desk.get(PAGE).status_code == 200  # by the one that it has


def test_the_cookie_opens_no_json_call_and_a_token_no_page(desk, stranger):
    for path in ("/admin/audit", "/admin/config/rate_limit", "/admin/adjustments"):
        answer = desk.get(path)
        assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
    answer = desk.client.post("/admin/config/rate_limit", json={"per_minute": 5})
    assert answer.status_code == 401
    assert leads_in(stranger.get(PAGE, headers={"X-Admin-Token": ANN}))


def test_signing_out_ends_every_copy_of_the_cookie(desk):
    copy = desk.with_cookie(desk.cookie())
    assert copy.get(PAGE).status_code == 200
    answer = desk.sends("/admin/console/sign_out")
    assert answer.headers["Location"].startswith(SIGN_IN)
    assert desk.client.get_cookie(COOKIE, path="/admin") is None
    assert leads_in(copy.get(PAGE))
    assert desk.trail(action="console.sign_out")[0]["actor"] == "operator:ann"


def test_a_session_is_never_one_that_was_there_before(desk):
    planted = desk.cookie()
    again = desk.client.post(SIGN_IN, data={"token": BOB})
    assert again.status_code == 303
    assert desk.cookie() != planted
    assert leads_in(desk.with_cookie(planted).get(PAGE))
    assert "bob" in shown(desk.get(PAGE))


@pytest.mark.parametrize("cookie", ["", "x", "a.b", "ImZvcmdlZCI.Zm9yZ2Vk", "\u00e9", "A" * 4000])
def test_a_forged_cookie_opens_nothing(stranger, cookie):
    assert leads_in(stranger.with_cookie(cookie).get(PAGE))


def test_a_cookie_signed_by_us_for_something_else_opens_nothing(app, stranger):
    with app.app_context():
        token = sessions._form_signer(app.extensions["payments_settings"].secret_key)
        forged = token.sign("anything").decode()
    assert leads_in(stranger.with_cookie(forged).get(PAGE))


def test_a_session_ends_after_an_hour_without_use_and_after_eight_in_all(app):
    for began_s, used_s, stands in [
        (7 * 3600, 3500, True),
        (7 * 3600, 3700, False),
        (8 * 3600 + 100, 10, False),
    ]:
        desk = Desk(app)
        desk.sign_in()
        age(desk, began_s, used_s)
        assert leads_in(desk.get(PAGE)) is not stands, (began_s, used_s)


def test_a_use_is_noted_once_a_minute(desk):
    age(desk, 600, 300)
    desk.get(PAGE)
    noted = used_at(desk)
    assert clock.now() - noted < timedelta(seconds=30)
    desk.get(PAGE)
    assert used_at(desk) == noted


def test_old_sessions_are_forgotten(app, desk):
    age(desk, 9 * 3600, 0)
    with app.app_context():
        before = COUNT.scalar()
        assert in_unit(lambda: sessions.prune(1)) == 1
        assert COUNT.scalar() == before - 1


@pytest.mark.parametrize(
    ("settings", "stands"),
    [
        ({}, True),
        ({"ADMIN_TOKEN": f"bob:{BOB},ann:{ANN}"}, True),
        ({"ADMIN_TOKEN": f"bob:{BOB}"}, False),
        ({"ADMIN_TOKEN": f"eve:{ANN},bob:{BOB}"}, False),
        ({"ADMIN_TOKEN": f"ann:{BOB}"}, False),
        ({"SECRET_KEY": "n" * 20 + "ew-key-0123456789,tests-key-0123456789abcdef0123456789abcdef"},
         True),
        ({"SECRET_KEY": "another-key-0123456789abcdef0123456789abcdef"}, False),
    ],
)  # fmt: skip
def test_a_session_ends_when_its_entry_leaves(desk, other, settings, stands):
    moved = Desk(other(**settings))
    moved.client.set_cookie(COOKIE, desk.cookie(), path="/admin")
    assert leads_in(moved.get(PAGE)) is not stands
    if stands:  # its forms go on as well, whichever key signed them
        moved.token = desk.token
        assert moved.sends(f"{PAGE}/otp/revert").status_code == 303


def test_a_form_without_this_sessions_token_does_nothing(app, desk):
    bob = Desk(app)
    bob.sign_in(BOB)
    for token in ("", "x", bob.token, desk.token[:-1], "\u00e9"):
        answer = desk.client.post(
            f"{PAGE}/rate_limit", data={"per_minute": "7", "auth_boost": "2", "form_token": token}
        )
        assert answer.status_code == 403, token
        assert "Nothing was done" in shown(answer)
    line = desk.trail(actor="operator:ann")[0]
    assert (line["action"], line["outcome"]) == (f"POST {PAGE}/rate_limit", "forbidden")
    assert 'value="7"' not in desk.get(PAGE).text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "http://127.0.0.1:8080"}, 303),  # PUBLIC_URL
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
    ],
)
def test_a_form_from_another_site_does_nothing(desk, stranger, headers, status):
    whole = {"form_token": desk.token, "intent": ids.new("x")}
    answer = desk.client.post(f"{PAGE}/otp/revert", data=whole, headers=headers)
    assert answer.status_code == status
    assert stranger.sign_in(headers=headers).status_code == status  # nor is anybody signed in


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        ({"form_token": ["TOKEN", "TOKEN"]}, None, 422),
        ({"form_token": "TOKEN", "intent": "a\0b"}, None, 422),
        ({"form_token": "TOKEN", "intent": "x" * 70_000}, None, 413),
        ({"form_token": "TOKEN", **{f"f{n}": "x" for n in range(60)}}, None, 422),
        ({"form_token": "TOKEN"}, "multipart/form-data", 415),
        ('{"form_token": "TOKEN"}', "application/json", 403),
    ],
)
def test_what_is_no_form_of_ours_is_refused_as_a_page(desk, body, media, status):
    def told(value):
        if isinstance(value, list):
            return [told(one) for one in value]
        return value.replace("TOKEN", desk.token)

    data = told(body) if isinstance(body, str) else {k: told(v) for k, v in body.items()}
    answer = desk.client.post(f"{PAGE}/otp/revert", data=data, content_type=media)
    assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text


def test_what_a_page_asks_for_by_itself_does_not_keep_the_session_awake(desk):
    age(desk, 7200, 3000)
    before = used_at(desk)
    for name in ("queues", "workers", "jobs/payments/queued/8/asc/1"):
        assert desk.get(f"/admin/rq/0/data/{name}.json").status_code == 200
    assert used_at(desk) == before
    assert desk.get("/admin/rq/").status_code == 200
    assert used_at(desk) > before


def test_the_rate_limit_is_told_as_a_page_and_operators_stand_outside(other):
    app = other(RATE_LIMIT_PER_MINUTE="3", REDIS_URL="")
    desk = Desk(app)
    desk.sign_in()
    assert [desk.get(PAGE).status_code for _ in range(5)] == [200] * 5
    answers = [Desk(app).get(SIGN_IN) for _ in range(4)]
    assert (answers[-1].status_code, answers[-1].mimetype) == (429, "text/html")
    assert "Retry-After" in answers[-1].headers


def test_every_answer_says_what_a_browser_may_do_with_it(desk, stranger):
    pages = [
        desk.get("/admin/"),
        desk.get(PAGE),
        stranger.get(SIGN_IN),
        desk.get("/admin/console/x"),
    ]
    pages += [desk.sends(f"{PAGE}/rate_limit", per_minute="x")]
    for page in pages:
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "script-src" not in policy and "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert "<script" not in page.text and "style=" not in page.text
    assert stranger.get("/admin/console/style.css").mimetype == "text/css"
    tag = stranger.get("/admin/console/style.css").headers["ETag"]
    again = stranger.get("/admin/console/style.css", headers={"If-None-Match": tag})
    assert again.status_code == 304


def test_what_is_no_page_is_told_so_on_one(desk, stranger):
    for path in ("/admin/console/nothing", "/admin/console/sign_out", "/admin/console/a/b"):
        answer = desk.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
        assert leads_in(stranger.get(path))
    for path, whole in (("/admin", "/admin/"), ("/admin/rq", "/admin/rq/")):
        assert desk.get(path).headers["Location"].endswith(whole)


def test_a_fault_of_ours_is_a_page_with_the_request_alone(desk, monkeypatch):
    monkeypatch.setattr(backlog, "pending", lambda: 1 // 0)
    answer = desk.get("/admin/console/webhooks")
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert answer.headers["X-Request-ID"] in answer.text
    assert "ZeroDivision" not in answer.text and "Traceback" not in answer.text


def test_who_acts_is_who_signed_in(app, desk):
    with app.app_context():
        assert origin.current().actor == "system"
    desk.does(f"{PAGE}/otp/revert")
    assert desk.trail(action="otp.revert")[0]["actor"] == "operator:ann"
