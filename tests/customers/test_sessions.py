"""Sessions: refresh tokens rotate, one that is shown again ends them all, and an end is an end."""

from collections import Counter
from functools import partial

from payments import sealing
from tests.customers import people


def status_of(app) -> str:
    (row,) = people.run(app, "SELECT status FROM sessions")
    return row.status


def replaced_earlier(app, seconds: float) -> None:
    """Let every replacement lie that much further back."""
    people.set_back(
        app, "refresh_tokens", "replaced_at", seconds, "replaced_at IS NOT NULL", "token_hash"
    )


def test_a_refresh_gives_the_next_pair(app, customer):
    old = customer.tokens
    fresh = customer.refreshes()
    assert fresh.status_code == 200
    assert fresh.headers["Cache-Control"] == "no-store"
    assert (fresh.json["token_type"], fresh.json["expires_in"]) == ("Bearer", 900)
    assert fresh.json["refresh_token"] not in ("", old["refresh_token"])
    customer.tokens = fresh.json
    assert customer.calls("GET", "/v1/me").status_code == 200
    assert customer.refreshes().status_code == 200


def test_tokens_are_kept_as_hashes(app, customer):
    first = customer.tokens["refresh_token"]
    second = customer.refreshes().json["refresh_token"]
    kept = people.run(app, "SELECT * FROM refresh_tokens ORDER BY created_at")
    assert [row.token_hash for row in kept] == [sealing.digest(first), sealing.digest(second)]
    assert not any(first in str(row) or second in str(row) for row in kept)


def test_the_one_just_replaced_gets_the_same_successor(app, customer):
    first = customer.tokens["refresh_token"]
    answers = [customer.refreshes(first) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    replaced_earlier(app, 29)
    again = customer.refreshes(first)
    assert again.json["refresh_token"] == answers[0].json["refresh_token"]
    customer.tokens = again.json
    assert customer.calls("PATCH", "/v1/me", {"name": "Ada"}).status_code == 200


def test_refreshed_at_once_all_get_the_same_successor(app, customer, make_person):
    first = customer.tokens["refresh_token"]
    answers = people.at_once([partial(make_person().refreshes, first) for _ in range(6)])
    assert Counter(answer.status_code for answer in answers) == {200: 6}
    (successor,) = {answer.json["refresh_token"] for answer in answers}
    assert customer.refreshes(successor).status_code == 200
    assert people.run(app, "SELECT count(*) AS n FROM refresh_tokens")[0].n == 3


def test_a_replaced_token_shown_after_30_s_revokes_the_family(app, customer):
    first = customer.tokens["refresh_token"]
    successor = customer.refreshes().json
    replaced_earlier(app, 31)
    refused = customer.refreshes(first)
    assert (refused.status_code, refused.json["code"]) == (401, "key_revoked")
    assert status_of(app) == "revoked"
    assert customer.refreshes(successor["refresh_token"]).json["code"] == "key_revoked"
    customer.tokens = successor
    refused = customer.calls("PATCH", "/v1/me", {"name": "Mallory"})
    assert (refused.status_code, refused.json["code"]) == (401, "key_revoked")
    assert customer.calls("GET", "/v1/me").json["name"] is None


def test_once_the_successor_was_used_its_predecessor_revokes_at_once(app, customer):
    first = customer.tokens["refresh_token"]
    second = customer.refreshes(first).json["refresh_token"]
    third = customer.refreshes(second).json["refresh_token"]
    assert people.run(app, "SELECT count(successor_sealed) AS n FROM refresh_tokens")[0].n == 1
    assert customer.refreshes(first).json["code"] == "key_revoked"
    assert status_of(app) == "revoked"
    assert customer.refreshes(third).status_code == 401


def test_reuse_revokes_that_session_alone(app, customer, make_person):
    elsewhere = make_person()
    elsewhere.signs_in()
    first = customer.tokens["refresh_token"]
    customer.refreshes()
    replaced_earlier(app, 31)
    assert customer.refreshes(first).status_code == 401
    assert elsewhere.refreshes().status_code == 200


def test_a_token_of_nobody_is_unauthenticated(customer, app):
    for token in ("rt_" + "x" * 43, "x", "é" * 200):
        refused = customer.refreshes(token)
        assert (refused.status_code, refused.json["code"]) == (401, "unauthenticated")
    refused = customer.refreshes(customer.tokens["access_token"])
    assert refused.status_code in (401, 422)
    assert status_of(app) == "active"


def test_a_session_ends_90_days_after_the_sign_in(app, customer):
    people.set_back(app, "sessions", "expires_at", 90 * 86400 - 10)
    customer.tokens = customer.refreshes().json
    people.set_back(app, "sessions", "expires_at", 11)
    refused = customer.refreshes()
    assert (refused.status_code, refused.json["code"]) == (401, "token_expired")
    assert customer.calls("PATCH", "/v1/me", {"name": "Ada"}).json["code"] == "key_revoked"
    (session,) = customer.calls("GET", "/v1/auth/sessions").json["data"]
    assert session["status"] == "expired"


def test_a_sessions_version_grows_with_its_end_by_time_and_ending_it_changes_nothing(
    app, customer, make_person
):
    elsewhere = make_person()
    elsewhere.signs_in()
    (present,) = [s for s in customer.calls("GET", "/v1/auth/sessions").json["data"]
                  if not s["current"]]  # fmt: skip
    people.set_back(app, "sessions", "expires_at", 91 * 86400, f"id = '{present['id']}'")
    url = f"/v1/auth/sessions/{present['id']}"
    over = customer.calls("GET", url).json
    assert (over["status"], over["version"]) == ("expired", present["version"] + 1)
    assert customer.calls("DELETE", url).json == over


def test_a_replayed_refresh_shows_no_token(customer):
    first = customer.tokens["refresh_token"]
    fresh = customer.refreshes(first, key="k-1")
    again = customer.refreshes(first, key="k-1")
    assert fresh.json["refresh_token"] is not None
    assert again.json == fresh.json | {"access_token": None, "refresh_token": None}
    lost = customer.refreshes(first)
    assert lost.json["refresh_token"] == fresh.json["refresh_token"]


def test_signing_out_ends_the_session(app, customer):
    refresh_token = customer.tokens["refresh_token"]
    ended = customer.calls("POST", "/v1/auth/logout", {})
    assert ended.status_code == 200
    assert (ended.json["object"], ended.json["status"]) == ("session", "ended")
    assert ended.json["current"] is True
    assert ended.json["ended_at"] is not None
    assert customer.refreshes(refresh_token).json["code"] == "key_revoked"
    again = customer.calls("POST", "/v1/auth/logout", {})
    assert (again.status_code, again.json["code"]) == (401, "key_revoked")


CHANGES = [
    ("PATCH", "/v1/me", {"name": "Ada"}),
    ("POST", "/v1/wallets", {"currency": "USD"}),
    ("POST", "/v1/auth/logout", {}),
    ("POST", "/v1/merchants", {"name": "Shop"}),
    ("DELETE", "/v1/auth/sessions/ses_" + "0" * 32, None),
]


def test_the_access_token_of_an_ended_session_only_reads(customer):
    customer.calls("POST", "/v1/auth/logout", {})
    refused = [customer.calls(*change) for change in CHANGES]
    assert [(a.status_code, a.json["code"]) for a in refused] == [(401, "key_revoked")] * 5
    assert customer.calls("GET", "/v1/me").status_code == 200


def test_sessions_are_listed_newest_first_with_a_cursor(customer, make_person):
    phone, laptop = make_person(), make_person()
    for device in (phone, laptop):
        device.client.environ_base["HTTP_USER_AGENT"] = f"Device/{id(device)}"
        device.signs_in()
    whole = laptop.calls("GET", "/v1/auth/sessions").json
    assert whole["next_cursor"] is None
    assert [session["current"] for session in whole["data"]] == [True, False, False]
    assert whole["data"][0]["user_agent"] == f"Device/{id(laptop)}"
    assert {session["status"] for session in whole["data"]} == {"active"}
    first = laptop.calls("GET", "/v1/auth/sessions?limit=2").json
    rest = laptop.calls("GET", f"/v1/auth/sessions?limit=2&cursor={first['next_cursor']}").json
    assert first["data"] + rest["data"] == whole["data"]
    one = laptop.calls("GET", f"/v1/auth/sessions/{whole['data'][1]['id']}")
    assert one.json == whole["data"][1]


def test_another_device_is_signed_out(customer, make_person):
    lost = make_person()
    lost.signs_in()
    session_id = customer.calls("GET", "/v1/auth/sessions").json["data"][0]["id"]
    ended = customer.calls("DELETE", f"/v1/auth/sessions/{session_id}")
    assert (ended.status_code, ended.json["status"]) == (200, "ended")
    again = customer.calls("DELETE", f"/v1/auth/sessions/{session_id}")
    assert (again.status_code, again.json) == (200, ended.json)
    assert lost.refreshes().json["code"] == "key_revoked"
    assert customer.refreshes().status_code == 200


def test_a_session_of_somebody_else_is_not_found(customer, make_person):
    other = make_person("+4915155555555")
    other.signs_in()
    (theirs,) = other.calls("GET", "/v1/auth/sessions").json["data"]
    for method in ("GET", "DELETE"):
        for session_id in (theirs["id"], "ses_" + "0" * 32, "ses_1"):
            refused = customer.calls(method, f"/v1/auth/sessions/{session_id}")
            assert (refused.status_code, refused.json["code"]) == (404, "not_found")
    assert other.refreshes().status_code == 200


def test_what_a_device_calls_itself_is_cut_and_made_printable(customer, make_person):
    device = make_person()
    device.client.environ_base["HTTP_USER_AGENT"] = "A\x01B\u009f" + "c" * 500
    device.signs_in()
    (newest, *_) = device.calls("GET", "/v1/auth/sessions").json["data"]
    assert newest["user_agent"].startswith("ABc")
    assert len(newest["user_agent"]) <= 200
