"""Reads can be conditional, and are nobody else's."""

import pytest


def test_a_read_has_an_etag_of_its_body(operator):
    first, again = operator.get("/admin/things"), operator.get("/admin/things")
    assert first.headers["ETag"] == again.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    operator.post("/admin/things", json={"amount": 5}, headers={"Idempotency-Key": "k"})
    changed = operator.get("/admin/things")
    assert changed.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_match_is_a_304_without_a_body(operator, form):
    tag = operator.get("/admin/things").headers["ETag"]
    answer = operator.get("/admin/things", headers={"If-None-Match": form.format(tag)})
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == tag
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize("shown", ['"other"', "", "nonsense"])
def test_another_tag_gets_the_body(operator, shown):
    answer = operator.get("/admin/things", headers={"If-None-Match": shown})
    assert (answer.status_code, answer.json["data"]) == (200, [])


def test_writes_and_refusals_are_not_kept_by_anyone(operator, echo_client):
    made = operator.post("/admin/things", json={"amount": 5}, headers={"Idempotency-Key": "k"})
    refused = echo_client.get("/admin/things")
    for answer in (made, refused):
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers


def test_a_match_without_a_credential_is_still_refused(operator, echo_client):
    tag = operator.get("/admin/things").headers["ETag"]
    answer = echo_client.get("/admin/things", headers={"If-None-Match": tag})
    assert answer.status_code == 401


def test_health_is_never_kept(client):
    assert client.get("/health/live").headers["Cache-Control"] == "no-store"
    assert "ETag" not in client.get("/health").headers
