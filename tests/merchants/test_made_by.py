"""What becomes of the keys that a key made, and a version that grows with each change of status."""

import json
from datetime import datetime, timedelta

import pytest

from payments import clock
from payments.merchants import api_keys
from tests.merchants.callers import (
    bearer,
    detail,
    key_row,
    made_by,
    pointers,
    refused,
    told,
    trail,
)
from tests.merchants.test_api_keys import times_of


def works(client, secret: str) -> bool:
    answer = bearer(client, secret).get("/v1/merchant")
    return answer.status_code == 200 or refused(answer) != (401, "key_revoked")


@pytest.fixture
def family(client, owner, shop):
    """A key, one that it made, and one that this one made; and the owner's other key."""
    first = made_by(owner, "*", merchant=shop)
    second = made_by(bearer(client, first["secret"]), "*")
    third = made_by(bearer(client, second["secret"]), "*")
    return first, second, third, made_by(owner, "*", merchant=shop)


def test_a_key_says_which_one_made_it(owner, family):
    first, second, third, other = family
    makers = [key["made_by"] for key in family]
    assert makers == [None, first["id"], second["id"], None]
    assert told(owner.get(f"/v1/api_keys/{third['id']}"))["made_by"] == second["id"]


def test_what_a_stolen_key_made_can_end_with_it_and_no_other_does(client, owner, family):
    first, second, third, other = family
    told(owner.delete(f"/v1/api_keys/{first['id']}", made="revoke"))
    assert [works(client, key["secret"]) for key in family] == [False, False, False, True]
    shown = told(owner.get(f"/v1/api_keys/{third['id']}"))
    assert (shown["status"], shown["version"]) == ("revoked", 2)


def test_it_ends_when_its_maker_does_and_an_end_that_lies_nearer_stays(client, owner, family):
    first, second, third, _other = family
    nearer = told(owner.delete(f"/v1/api_keys/{third['id']}", after=60))["revoked_at"]
    ends = told(owner.delete(f"/v1/api_keys/{first['id']}", after=3600, made="revoke"))[
        "revoked_at"
    ]
    urls = [f"/v1/api_keys/{key['id']}" for key in (second, third)]
    assert [told(owner.get(url))["revoked_at"] for url in urls] == [ends, nearer]
    assert [works(client, key["secret"]) for key in family] == [True] * 4


def test_who_rotates_by_the_key_itself_has_the_next_one(client, owner, family):
    first, second, third, _other = family
    own = bearer(client, second["secret"])
    told(own.delete(f"/v1/api_keys/{first['id']}"))
    assert [works(client, key["secret"]) for key in family] == [False, True, True, True]
    assert pointers(owner.delete(f"/v1/api_keys/{first['id']}", made="burn")) == ["/made"]


def test_of_a_key_that_has_ended_it_still_ends_those_it_made(client, owner, family):
    first, second, third, _other = family
    told(owner.delete(f"/v1/api_keys/{second['id']}"))
    ended = told(owner.delete(f"/v1/api_keys/{first['id']}"))
    assert works(client, third["secret"])
    assert told(owner.delete(f"/v1/api_keys/{first['id']}", made="revoke")) == ended
    assert not works(client, third["secret"])


def test_the_trail_says_which_key_it_ended_with(app, owner, family):
    first, _second, third, _other = family
    told(owner.delete(f"/v1/api_keys/{first['id']}", made="revoke"))
    (line,) = [line for line in trail(app, third["id"]) if line.action == "api_key.revoke"]
    assert json.loads(line.after_json)["because_of"] == first["id"]
    (line,) = [line for line in trail(app, first["id"]) if line.action == "api_key.revoke"]
    assert "because_of" not in json.loads(line.after_json)


def test_a_merchant_has_so_many_that_work(client, owner, shop, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_LIVE", 3)
    first, *_ = [key_row(shop)[0] for _ in range(3)]
    body = {"name": "till", "scopes": ["*"], "merchant": shop}
    answer = owner.post("/v1/api_keys", body)
    assert refused(answer) == (403, "limit_exceeded")
    assert "Revoke one of them" in detail(answer)
    told(owner.delete(f"/v1/api_keys/{first.id}"))
    told(owner.post("/v1/api_keys", body), 201)


def test_the_version_grows_when_time_ends_a_key_and_when_it_is_revoked_later(owner, shop):
    row, _secret = key_row(shop, expires_at=clock.now() + timedelta(hours=1))
    seen = []

    def look(**shifted: datetime) -> None:
        times_of(row.id, **shifted)
        key = told(owner.get(f"/v1/api_keys/{row.id}"))
        seen.append((key["status"], key["version"]))

    look()
    look(expires_at=clock.now() - timedelta(minutes=2))
    told(owner.delete(f"/v1/api_keys/{row.id}"))
    look()
    look()
    assert seen == [("active", 1), ("expired", 2), ("revoked", 3), ("revoked", 3)]


def test_the_version_grows_when_a_revocation_that_lay_ahead_comes(owner, shop):
    row, _secret = key_row(shop, expires_at=clock.now() + timedelta(hours=2))
    ahead = told(owner.delete(f"/v1/api_keys/{row.id}", after=60))
    assert (ahead["status"], ahead["version"]) == ("active", 2)
    times_of(row.id, revoked_at=clock.now() - timedelta(seconds=1))
    come = told(owner.get(f"/v1/api_keys/{row.id}"))
    assert (come["status"], come["version"]) == ("revoked", 3)
    times_of(row.id, expires_at=clock.now())  # past its revocation: no change of status
    later = told(owner.get(f"/v1/api_keys/{row.id}"))
    assert (later["status"], later["version"]) == ("revoked", 3)
