"""A key that makes keys grants no more than its own scopes and its own time."""

from datetime import timedelta

from payments import clock
from payments.merchants import api_keys
from tests.merchants.callers import bearer, key_row, made_by, pointers, refused, told, with_key


def later(**delta: float) -> str:
    return clock.to_rfc3339(clock.now() + timedelta(**delta))


def test_a_key_grants_no_scope_that_it_has_not(manager, shop):
    for scopes in (["payments:write"], ["*"], ["payments:read", "refunds:write"]):
        answer = manager.post("/v1/api_keys", {"name": "more", "scopes": scopes})
        assert refused(answer) == (403, "scope_missing")
    assert len(api_keys.of_merchant(shop, 10, None)) == 1
    assert made_by(manager, "api_keys", "payments:read")["scopes"] == ["api_keys", "payments:read"]


def test_a_key_of_every_scope_by_name_does_not_grant_all(client, shop):
    every = ["api_keys", "links:write", "payments:read", "payments:write", "refunds:write",
             "settlements:read", "webhooks:write"]  # fmt: skip
    answer = with_key(client, shop, *every).post("/v1/api_keys", {"name": "more", "scopes": ["*"]})
    assert refused(answer) == (403, "scope_missing")  # `*` opens what comes later, too
    whole = with_key(client, shop, "*")
    assert made_by(whole, "*")["scopes"] == ["*"]


def test_a_key_grants_no_longer_time_than_its_own(client, shop):
    end = clock.now().replace(microsecond=0) + timedelta(hours=1)
    maker = with_key(client, shop, "*", expires_at=end)
    past = {
        "name": "x",
        "scopes": ["*"],
        "expires_at": clock.to_rfc3339(end + timedelta(seconds=1)),
    }
    assert pointers(maker.post("/v1/api_keys", past)) == ["/expires_at"]
    assert made_by(maker)["expires_at"] == clock.to_rfc3339(end)
    shorter = clock.to_rfc3339(end - timedelta(minutes=1))
    assert made_by(maker, expires_at=shorter)["expires_at"] == shorter


def test_a_key_on_its_way_out_makes_none_that_outlives_it(client, owner, shop):
    row, secret = key_row(shop)
    ends = told(owner.delete(f"/v1/api_keys/{row.id}", after=3600))["revoked_at"]
    child = made_by(bearer(client, secret))
    assert child["expires_at"] == ends
    answer = bearer(client, secret).post(
        "/v1/api_keys", {"name": "x", "scopes": ["*"], "expires_at": later(hours=2)}
    )
    assert pointers(answer) == ["/expires_at"]
