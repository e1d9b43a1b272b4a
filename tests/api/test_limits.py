"""One budget a minute: whose it is, what it covers, what is left, and life without Redis."""

import json
import logging
import time

import pytest
from redis.commands.core import Script
from redis.exceptions import ConnectionError as RedisConnectionError

from payments import logs
from payments.api import limits
from payments.api.limits import WindowRedis
from tests.api import echo
from tests.api.conftest import ADMIN
from tests.databases import SECRETS

SERVICE = {"X-Internal-Secret": SECRETS["INTERNAL_API_SECRET"].partition(":")[2]}


@pytest.fixture(params=["redis", "memory"])
def limited(make_app, request):
    """The service with 5 a minute, counted in Redis and in memory."""
    where = {} if request.param == "redis" else {"REDIS_URL": ""}
    app = make_app(RATE_LIMIT_PER_MINUTE="5", RATE_LIMIT_AUTH_BOOST="2", **where)
    app.register_blueprint(echo.blueprint())
    return app.test_client()


def statuses(client, path: str, count: int, **options) -> list[int]:
    return [client.get(path, **options).status_code for _ in range(count)]


def test_beyond_the_budget_is_a_429_that_says_when(limited):
    assert statuses(limited, "/openapi.json", 5) == [200] * 5
    answer = limited.get("/openapi.json")
    assert (answer.status_code, answer.json["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit"].startswith('"minute";r=0;t=')


def test_what_is_left_is_told_on_every_limited_answer(limited):
    for left, path in enumerate(["/nowhere", "/docs", "/v1/things", "/admin/things"]):
        headers = limited.get(path).headers
        assert headers["RateLimit-Policy"] == '"minute";q=5;w=60'
        remaining, reset = headers["RateLimit"].removeprefix('"minute";r=').split(";t=")
        assert int(remaining) == 4 - left
        assert 1 <= int(reset) <= 60
        assert "Retry-After" not in headers
        assert not [name for name in headers.keys() if name.startswith("X-RateLimit")]


def test_one_budget_is_over_all_paths_and_methods_unmatched_ones_too(limited):
    calls = [("GET", "/nowhere"), ("POST", "/docs"), ("GET", "/docs"), ("OPTIONS", "/docs"),
             ("HEAD", "/openapi.json")]  # fmt: skip
    for method, path in calls:
        assert limited.open(path, method=method).status_code != 429
    for method, path in calls:
        assert limited.open(path, method=method).status_code == 429
    assert limited.get("/a/new/path").status_code == 429


def test_a_verified_caller_has_a_larger_budget_of_its_own(limited):
    assert statuses(limited, "/nowhere", 6)[-1] == 429
    assert statuses(limited, "/nowhere", 10, headers=SERVICE) == [404] * 10
    assert limited.get("/internal/nowhere", headers=SERVICE).status_code == 429
    assert limited.get("/nowhere").status_code == 429


def test_a_budget_goes_by_name_not_by_credential(make_app):
    app = make_app(
        RATE_LIMIT_PER_MINUTE="2", RATE_LIMIT_AUTH_BOOST="1",
        INTERNAL_API_SECRET="taxi:" + "a" * 40 + ",taxi:" + "b" * 40 + ",food:" + "c" * 40,
    )  # fmt: skip
    client = app.test_client()
    headers = [{"X-Internal-Secret": letter * 40} for letter in "abc"]
    assert statuses(client, "/internal/x", 2, headers=headers[0]) == [404, 404]
    assert client.get("/internal/x", headers=headers[1]).status_code == 429
    assert client.get("/internal/x", headers=headers[2]).status_code == 404


def test_operators_with_a_valid_token_stand_outside(limited):
    assert statuses(limited, "/admin/things", 12, headers=ADMIN) == [200] * 12
    assert "RateLimit" not in limited.get("/admin/things", headers=ADMIN).headers


def test_a_wrong_token_counts_on_the_address(limited):
    wrong = {"X-Admin-Token": "x" * 40}
    assert statuses(limited, "/admin/things", 5, headers=wrong) == [401] * 5
    assert limited.get("/admin/things", headers=wrong).status_code == 429
    assert limited.get("/docs").status_code == 429


def test_wrong_credentials_of_all_kinds_count_on_the_address(limited):
    for headers in (
        {"Authorization": "Bearer sk_wrong"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Basic x"},
        {"X-Internal-Secret": "wrong"},
        {"X-Admin-Token": "wrong"},
    ):
        assert limited.get("/docs", headers=headers).status_code == 200
    assert limited.get("/docs").status_code == 429


def test_probes_stand_outside(limited):
    assert set(statuses(limited, "/health/live", 12) + statuses(limited, "/health", 7)) == {200}
    assert "RateLimit" not in limited.get("/health").headers


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.1", "203.0.113.1", True),
        ("gibberish", "other gibberish", True),
    ],
)
def test_an_address_is_an_ipv4_or_a_64(limited, first, second, same):
    spent = {"REMOTE_ADDR": first}
    assert statuses(limited, "/docs", 6, environ_overrides=spent)[-1] == 429
    answer = limited.get("/docs", environ_overrides={"REMOTE_ADDR": second})
    assert answer.status_code == (429 if same else 200)


def test_a_forged_address_is_not_believed(make_app):
    client = make_app(RATE_LIMIT_PER_MINUTE="3").test_client()
    for number in range(3):
        client.get("/docs", headers={"X-Forwarded-For": f"6.6.6.{number}"})
    assert client.get("/docs", headers={"X-Forwarded-For": "6.6.6.9"}).status_code == 429


def test_processes_share_the_budget_in_redis(make_app):
    one, two = (make_app(RATE_LIMIT_PER_MINUTE="4").test_client() for _ in range(2))
    assert statuses(one, "/docs", 2) + statuses(two, "/docs", 2) == [200] * 4
    assert (one.get("/docs").status_code, two.get("/docs").status_code) == (429, 429)


def test_the_window_ends(make_app, redis_client):
    client = make_app(RATE_LIMIT_PER_MINUTE="1").test_client()
    assert statuses(client, "/docs", 2) == [200, 429]
    (key,) = redis_client.keys("*")
    assert 0 < redis_client.ttl(key) <= 60
    redis_client.pexpire(key, 1)
    time.sleep(0.05)
    assert client.get("/docs").status_code == 200


def test_counting_takes_one_round_trip(make_app, redis_server):
    client = make_app(RATE_LIMIT_PER_MINUTE="100", REDIS_URL=redis_server.url()).test_client()
    client.get("/docs")
    with redis_server.client() as redis:
        before = redis.info("commandstats")
        for _ in range(10):
            client.get("/docs")
        after = redis.info("commandstats")
    calls = {
        name: stats["calls"] - before.get(name, {"calls": 0})["calls"]
        for name, stats in after.items()
    }
    assert calls["cmdstat_evalsha"] == 10
    inside_the_script = {"cmdstat_incrby", "cmdstat_pttl", "cmdstat_evalsha", "cmdstat_info"}
    assert {name for name, count in calls.items() if count} <= inside_the_script


def test_without_redis_the_limit_holds_in_memory_and_says_so(make_app, redis_server, caplog):
    client = make_app(RATE_LIMIT_PER_MINUTE="3", REDIS_URL=redis_server.url()).test_client()
    assert statuses(client, "/docs", 2) == [200, 200]
    redis_server.stop()
    with caplog.at_level(logging.ERROR, "payments.api.limits"):
        assert statuses(client, "/docs", 4) == [200, 200, 200, 429]
    said = [r.levelname for r in caplog.records if r.name == "payments.api.limits"]
    assert said in (
        ["ERROR"],
        ["ERROR"] * 2,
    )  # it is looked for again at once, then ever more rarely
    health = client.get("/health")
    assert (health.status_code, health.json["status"]) == (200, "degraded")
    assert client.get("/docs").headers["RateLimit-Policy"] == '"minute";q=3;w=60'
    redis_server.start()
    deadline = time.monotonic() + 15
    while client.get("/docs").status_code == 429:
        assert time.monotonic() < deadline, "Redis is back and nobody noticed"
        time.sleep(0.2)
    assert client.get("/health").json["status"] == "ok"


def test_a_redis_that_fails_is_asked_once(make_app, redis_server, monkeypatch):
    """The next ask comes later, and rarely: each may cost its whole time limit."""
    client = make_app(REDIS_URL=redis_server.url()).test_client()
    client.get("/docs")
    asked = []

    def away(self, keys, args):
        asked.append(keys)
        raise RedisConnectionError

    monkeypatch.setattr(Script, "__call__", away)
    # On a slow machine the library's time to look again has come already: it is still away.
    monkeypatch.setattr(WindowRedis, "check", lambda self: False)
    assert statuses(client, "/docs", 1) == [200]
    assert len(asked) == 1


def test_a_redis_that_hangs_costs_one_request_a_moment(make_app, redis_server):
    client = make_app(RATE_LIMIT_PER_MINUTE="100", REDIS_URL=redis_server.url()).test_client()
    client.get("/docs")
    redis_server.pause()
    try:
        begun = time.monotonic()
        assert statuses(client, "/docs", 20) == [200] * 20
        assert time.monotonic() - begun < 10  # one that waits for an answer waits for minutes
    finally:
        redis_server.resume()


def test_a_redis_that_answers_and_takes_nothing_is_none(make_app, redis_server):
    app = make_app(RATE_LIMIT_PER_MINUTE="100", REDIS_URL=redis_server.url())
    client, storage = app.test_client(), app.extensions["payments_limiter"].storage
    assert storage.check()
    with redis_server.client() as redis:
        redis.config_set("maxmemory", "1")
        assert statuses(client, "/docs", 20) == [200] * 20
        assert not storage.check()
        redis.config_set("maxmemory", "0")
    assert storage.check()


def test_two_that_meet_a_failing_redis_at_once_are_both_served(make_app, redis_server, monkeypatch):
    app = make_app(RATE_LIMIT_PER_MINUTE="100", REDIS_URL=redis_server.url())
    client, limiter = app.test_client(), app.extensions["payments_limiter"]
    client.get("/docs")
    limiter._storage_dead, limiter._Limiter__last_check_backend = True, 0.0  # it is looked for now

    def looks_well(self) -> bool:
        return True

    def fails(self, keys, args):
        limiter._storage_dead = True  # another thread has just seen the same
        raise RedisConnectionError

    monkeypatch.setattr(WindowRedis, "check", looks_well)
    monkeypatch.setattr(Script, "__call__", fails)
    assert statuses(client, "/docs", 1) == [200]


def test_one_that_meets_redis_as_another_finds_it_gone_is_counted_there(
    make_app, redis_server, monkeypatch
):
    app = make_app(RATE_LIMIT_PER_MINUTE="100", REDIS_URL=redis_server.url())
    client, limiter = app.test_client(), app.extensions["payments_limiter"]
    stands_outside = limits._stands_outside

    def meanwhile() -> bool:
        limiter._storage_dead = True
        return stands_outside()

    monkeypatch.setattr(limits, "_stands_outside", meanwhile)
    answer = client.get("/docs")
    assert (answer.status_code, answer.headers["RateLimit"]) == (200, '"minute";r=99;t=60')


def test_the_log_says_whose_budget_it_was(limited, caplog):
    caplog.handler.setFormatter(logs.JsonLines(logs.Redactor()))
    statuses(limited, "/nowhere", 6)
    lines = [json.loads(line) for line in caplog.text.splitlines() if line.startswith("{")]
    told = [line.get("limited") for line in lines if line["message"] == "request"]
    assert told == [None] * 5 + ["address:127.0.0.1"]
