"""API keys: made, shown once, limited to their maker's scopes and time, ended."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from payments import clock, db
from payments.customers import sessions
from payments.db import Sql
from payments.errors import NotFound, Unauthenticated
from payments.merchants import api_keys
from tests.checkout import world
from tests.merchants.callers import (
    OWNER_PHONE,
    bearer,
    detail,
    key_row,
    made_by,
    pointers,
    refused,
    told,
    trail,
    with_key,
)

ROW = Sql("SELECT * FROM api_keys WHERE id = :id")
ANSWERS = Sql("SELECT body FROM idempotency_keys")
SHIFT = Sql(
    "UPDATE api_keys SET expires_at = :expires_at, revoked_at = :revoked_at,"
    " last_used_at = :last_used_at WHERE id = :id"
)
LOCK = Sql("UPDATE api_keys SET hint = hint WHERE id = :id")
UNKNOWN = "key_" + "0" * 32


def stored(key_id: str) -> Any:
    """The key's row, as it is in the table."""
    return ROW.one(id=key_id)


def times_of(key_id: str, **changed: datetime | None) -> None:
    """Let these times of the key be others."""
    row = stored(key_id)
    kept = {name: getattr(row, name) for name in ("expires_at", "revoked_at", "last_used_at")}
    world.did(lambda: SHIFT.run(id=key_id, **(kept | changed)))


def ago(**delta: float) -> datetime:
    return clock.now() - timedelta(**delta)


def probe(client: FlaskClient, secret: str) -> TestResponse:
    return bearer(client, secret).get("/v1/merchant")


def test_an_owner_makes_one(client, owner, shop):
    key = made_by(owner, "payments:write", "payments:read", merchant=shop)
    secret = key.pop("secret")
    assert re.fullmatch(r"sk_[A-Za-z0-9_-]{43}", secret)
    assert key.pop("id").startswith("key_")
    assert key.pop("created_at").endswith("Z")
    assert key == {
        "object": "api_key",
        "status": "active",
        "version": 1,
        "merchant": shop,
        "made_by": None,
        "name": "till",
        "scopes": ["payments:read", "payments:write"],
        "hint": secret[-4:],
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    }
    assert told(probe(client, secret))["id"] == shop


def test_a_key_makes_one_for_its_own_merchant(client, manager, shop):
    key = made_by(manager)
    assert key["merchant"] == shop
    assert told(probe(client, key["secret"]))["id"] == shop


def test_an_owner_names_the_merchant_and_a_key_does_not(owner, manager, shop):
    body = {"name": "till", "scopes": ["payments:read"]}
    assert pointers(owner.post("/v1/api_keys", body)) == ["/merchant"]
    assert pointers(manager.post("/v1/api_keys", body | {"merchant": shop})) == ["/merchant"]


def test_a_key_of_anothers_merchant_is_made_by_nobody(stranger, shop):
    for merchant in (shop, "mer_" + "0" * 32):
        body = {"name": "till", "scopes": ["*"], "merchant": merchant}
        assert refused(stranger.post("/v1/api_keys", body)) == (404, "not_found")
    assert api_keys.of_merchant(shop, 10, None) == []


def test_an_ended_session_makes_and_revokes_nothing(client, shop):
    customer_id = world.customer(OWNER_PHONE)
    issued = world.did(lambda: sessions.start(customer_id, "tests"))
    key, _secret = key_row(shop)
    (session,) = sessions.of_customer(customer_id, 5, None)
    world.did(lambda: sessions.end(customer_id, session.id))
    caller = bearer(client, issued.access_token)
    body = {"name": "till", "scopes": ["*"], "merchant": shop}
    assert refused(caller.post("/v1/api_keys", body)) == (401, "key_revoked")
    assert refused(caller.delete(f"/v1/api_keys/{key.id}")) == (401, "key_revoked")
    assert stored(key.id).revoked_at is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", []),
        ("scopes", ["payments"]),
        ("scopes", ["PAYMENTS:READ"]),
        ("scopes", ["payments:read"] * 9),
        ("scopes", "payments:read"),
        ("name", ""),
        ("expires_at", "2030-01-01T00:00:00"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("secret", "sk_my-own"),
        ("revoked_at", None),
    ],
)
def test_a_body_that_does_not_fit_is_refused(owner, shop, field, value):
    body = {"name": "till", "scopes": ["payments:read"], "merchant": shop, field: value}
    assert pointers(owner.post("/v1/api_keys", body))[0].startswith(f"/{field}")
    assert api_keys.of_merchant(shop, 10, None) == []


def test_the_secret_is_shown_once(owner, manager, shop):
    key = made_by(owner, "payments:read", merchant=shop)
    secret = key.pop("secret")
    shown = owner.get(f"/v1/api_keys/{key['id']}")
    listed = owner.get("/v1/api_keys", merchant=shop)
    by_key = manager.get("/v1/api_keys")
    assert told(shown) == key
    assert key in told(listed)["data"] and key in told(by_key)["data"]
    for answer in (shown, listed, by_key):
        assert secret[:-4] not in answer.text


@pytest.mark.parametrize("who", ["owner", "manager"])
def test_a_replay_leaves_the_secret_out_and_says_so(request, shop, who):
    caller = request.getfixturevalue(who)
    body = {"name": "till", "scopes": ["payments:read"]}
    body |= {"merchant": shop} if who == "owner" else {}
    before = len(api_keys.of_merchant(shop, 10, None))
    first, again = (caller.post("/v1/api_keys", body, key="k-1") for _ in range(2))
    assert first.headers.get("Idempotent-Secrets-Omitted") is None
    assert told(again, 201) == told(first, 201) | {"secret": None}
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Idempotent-Secrets-Omitted"] == "secret"
    assert len(api_keys.of_merchant(shop, 10, None)) == before + 1


def test_nothing_that_is_stored_or_logged_has_the_secret(app, owner, shop, caplog):
    key = made_by(owner, "payments:read", merchant=shop)
    secret = key["secret"]
    row = stored(key["id"])
    kept = [str(column) for column in row] + [answer.body for answer in ANSWERS.all()]
    kept += [line.after_json for line in trail(app, key["id"])] + [caplog.text]
    assert not [text for text in kept if secret[3:20] in text or secret[:-4] in text]
    assert len(ANSWERS.all()) == 1


def test_who_made_and_who_ended_a_key_stands_in_the_trail(app, owner, manager, shop):
    key = made_by(owner, "payments:read", merchant=shop)
    told(manager.delete(f"/v1/api_keys/{key['id']}"))
    lines = trail(app, key["id"])
    assert [(line.action, line.outcome) for line in lines] == [
        ("api_key.create", "done"),
        ("api_key.revoke", "done"),
    ]
    assert [line.actor for line in lines] == [world.customer(OWNER_PHONE), shop]
    assert json.loads(lines[0].after_json)["scopes"] == ["payments:read"]


def test_an_expired_key_opens_nothing(client, shop):
    row, secret = key_row(shop, expires_at=clock.now() + timedelta(hours=1))
    assert told(probe(client, secret))["id"] == shop
    times_of(row.id, expires_at=ago(seconds=1))
    assert refused(probe(client, secret)) == (401, "token_expired")
    assert api_keys.key_object(stored(row.id), clock.now())["status"] == "expired"


def test_a_revoked_key_opens_nothing(client, owner, shop):
    row, secret = key_row(shop)
    key = told(owner.delete(f"/v1/api_keys/{row.id}"))
    assert (key["status"], key["version"]) == ("revoked", 2)
    assert refused(probe(client, secret)) == (401, "key_revoked")


def test_a_revocation_ahead_lets_the_key_work_until_then(client, owner, shop):
    row, secret = key_row(shop)
    key = told(owner.delete(f"/v1/api_keys/{row.id}", after=60))
    ahead = clock.parse_rfc3339(key["revoked_at"]) - clock.now()
    assert timedelta(seconds=50) < ahead <= timedelta(seconds=60)
    assert key["status"] == "active"
    assert told(probe(client, secret))["id"] == shop
    times_of(row.id, revoked_at=ago(seconds=1))
    assert refused(probe(client, secret)) == (401, "key_revoked")


def test_a_revocation_is_brought_nearer_and_never_taken_back(client, owner, shop):
    row, secret = key_row(shop)
    url = f"/v1/api_keys/{row.id}"
    first = told(owner.delete(url, after=60))
    assert told(owner.delete(url, after=3600)) == first
    nearer = told(owner.delete(url))
    assert (nearer["status"], nearer["version"]) == ("revoked", 4)
    assert told(owner.delete(url, after=60)) == nearer
    assert refused(probe(client, secret)) == (401, "key_revoked")


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "99999999999"])
def test_an_overlap_is_whole_seconds_up_to_thirty_days(owner, shop, after):
    row, _secret = key_row(shop)
    assert pointers(owner.delete(f"/v1/api_keys/{row.id}", after=after)) == ["/after"]
    assert stored(row.id).revoked_at is None


def test_a_key_may_end_itself(client, shop):
    row, secret = key_row(shop, "api_keys")
    assert told(bearer(client, secret).delete(f"/v1/api_keys/{row.id}"))["status"] == "revoked"
    assert refused(probe(client, secret)) == (401, "key_revoked")


@pytest.mark.parametrize("shown", ["sk_", "sk_" + "x" * 43, "sk_é", "sk_' OR 1=1 --"])
def test_a_key_that_is_none_is_unknown(client, shop, shown):
    assert refused(probe(client, shown)) == (401, "unauthenticated")


def test_a_key_with_a_letter_more_is_unknown(client, shop):
    _row, secret = key_row(shop)
    for near in (secret + "x", secret[:-1], secret.swapcase(), secret + "="):
        assert refused(probe(client, near)) == (401, "unauthenticated")


def test_what_has_not_the_shape_of_a_key_costs_the_database_nothing(app, monkeypatch):
    monkeypatch.setattr(api_keys, "_BY_HASH", None)
    for none in ("sk_", "sk_" + "x" * 42, "sk_" + "x" * 44, "sk_" + "é" * 43):
        with app.app_context(), pytest.raises(Unauthenticated):
            api_keys.authenticate(none)


def test_a_revoked_keys_replay_is_refused_and_the_next_keys_is_the_same_intent(client, owner, shop):
    old, old_secret = key_row(shop, "payments:write")
    _new, new_secret = key_row(shop, "payments:write")
    ask = {"amount": 5_00, "currency": "EUR"}
    first = told(bearer(client, old_secret).post("/v1/payments", ask, key="order-1"), 201)
    told(owner.delete(f"/v1/api_keys/{old.id}"))
    again = bearer(client, old_secret).post("/v1/payments", ask, key="order-1")
    assert refused(again) == (401, "key_revoked")
    replay = bearer(client, new_secret).post("/v1/payments", ask, key="order-1")
    assert told(replay, 201) == first
    assert replay.headers["Idempotent-Replayed"] == "true"


def test_a_key_without_the_scope_gets_no_replay(client, shop):
    ask = {"amount": 5_00, "currency": "EUR"}
    told(with_key(client, shop).post("/v1/payments", ask, key="order-1"), 201)
    reader = with_key(client, shop, "payments:read")
    assert refused(reader.post("/v1/payments", ask, key="order-1")) == (403, "scope_missing")


def test_its_use_is_noted_at_most_once_a_minute(client, shop):
    row, secret = key_row(shop)
    probe(client, secret)
    first = stored(row.id).last_used_at
    assert abs(first - clock.now()) < timedelta(seconds=10)
    probe(client, secret)
    assert stored(row.id).last_used_at == first
    times_of(row.id, last_used_at=first - timedelta(seconds=55))
    probe(client, secret)
    assert stored(row.id).last_used_at == first - timedelta(seconds=55)
    times_of(row.id, last_used_at=first - timedelta(seconds=61))
    probe(client, secret)
    assert stored(row.id).last_used_at >= first
    assert stored(row.id).version == 1


def test_a_refused_keys_use_is_not_noted(client, owner, shop):
    row, secret = key_row(shop)
    told(owner.delete(f"/v1/api_keys/{row.id}"))
    probe(client, secret)
    assert stored(row.id).last_used_at is None


def test_read_only_serves_keys_and_notes_nothing(make_app, shop):
    row, secret = key_row(shop)
    quiet = make_app(READ_ONLY="true")
    assert told(probe(quiet.test_client(), secret))["id"] == shop
    assert stored(row.id).last_used_at is None


def test_a_use_that_can_not_be_noted_refuses_nobody(client, shop, caplog):
    row, secret = key_row(shop)
    with db.unit_of_work(), ThreadPoolExecutor(1) as elsewhere:
        LOCK.run(id=row.id)
        answer = elsewhere.submit(probe, client, secret).result()
    assert told(answer)["id"] == shop
    assert stored(row.id).last_used_at is None
    assert "could not be noted" in caplog.text


def test_keys_are_listed_newest_first_the_ended_ones_too(owner, shop):
    ids = [key_row(shop)[0].id for _ in range(3)]
    told(owner.delete(f"/v1/api_keys/{ids[0]}"))
    first = told(owner.get("/v1/api_keys", merchant=shop, limit=2))
    rest = told(owner.get("/v1/api_keys", merchant=shop, limit=2, cursor=first["next_cursor"]))
    shown = first["data"] + rest["data"]
    assert [key["id"] for key in shown] == ids[::-1]
    assert [key["status"] for key in shown] == ["active", "active", "revoked"]
    assert told(owner.get("/v1/api_keys"))["data"] == shown  # of the one that they own


def test_a_cursor_of_one_merchants_keys_does_not_open_anothers(owner, shop):
    kiosk = world.merchant(name="Kiosk")
    for _ in range(2):
        key_row(shop)
        key_row(kiosk)
    cursor = told(owner.get("/v1/api_keys", merchant=shop, limit=1))["next_cursor"]
    answer = owner.get("/v1/api_keys", merchant=kiosk, cursor=cursor)
    assert refused(answer) == (422, "invalid_cursor")


def test_anothers_keys_are_404_and_the_same_404_as_none(client, owner, stranger, shop):
    row, _secret = key_row(shop)
    elsewhere = world.merchant("+4915155555556", "Elsewhere")
    foreign = with_key(client, elsewhere)
    for caller in (stranger, foreign):
        for key_id in (row.id, UNKNOWN):
            answers = [
                caller.get(f"/v1/api_keys/{key_id}"),
                caller.delete(f"/v1/api_keys/{key_id}"),
            ]
            assert [refused(answer) for answer in answers] == [(404, "not_found")] * 2
            assert len({detail(answer) for answer in answers}) == 1
    assert refused(stranger.get("/v1/api_keys", merchant=shop)) == (404, "not_found")
    assert refused(foreign.get("/v1/api_keys", merchant=shop)) == (404, "not_found")
    assert row.id not in [key["id"] for key in told(foreign.get("/v1/api_keys"))["data"]]
    assert stored(row.id).revoked_at is None


def test_a_key_is_its_merchants_in_the_room_as_well(shop):
    row, _secret = key_row(shop)
    elsewhere = world.merchant("+4915155555556", "Elsewhere")
    assert api_keys.get(shop, row.id).id == row.id
    with pytest.raises(NotFound):
        api_keys.get(elsewhere, row.id)
    with pytest.raises(NotFound):
        world.did(lambda: api_keys.revoke(elsewhere, row.id))
    assert stored(row.id).revoked_at is None
