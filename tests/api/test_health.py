"""Probes: well, degraded, unavailable, and an answer within a second or so either way."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from payments import VERSION
from payments.db import Sql, unit_of_work
from payments.operations import health
from tests import databases
from tests.api.json_of import json_of

ALL_WELL = {"database": "ok", "redis": "ok"}


def set_revision(url: str, revision: str | None) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
        if revision is not None:
            connection.execute(
                sa.text("INSERT INTO alembic_version (version_num) VALUES (:r)"), {"r": revision}
            )
        connection.commit()


def test_all_well(client):
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "checks": ALL_WELL, "version": VERSION}


def test_the_process_alone(client):
    answer = client.get("/health/live")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "version": VERSION})


def test_prometheus_is_told_without_a_token_that_the_process_answers(make_app):
    client = make_app(METRICS_TOKEN="m" * 40).test_client()
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    scraped = client.get("/health/live", headers={"Accept": accept})
    assert scraped.content_type.startswith("application/openmetrics-text")
    assert "\npayments_live 1.0\n" in scraped.text
    for other in ("*/*", "text/plain", "text/html,*/*;q=0.8"):
        answer = client.get("/health/live", headers={"Accept": other})
        assert (answer.json, answer.headers["Vary"]) == (
            {"status": "ok", "version": VERSION},
            "Accept",
        )


def test_a_schema_that_is_behind_is_not_fit_to_serve(client, database, monkeypatch):
    monkeypatch.setattr(health, "_revisions", lambda: ("0002", frozenset({"0001", "0002"})))
    set_revision(database, "0001")
    answer = client.get("/health")
    assert (answer.status_code, json_of(answer)["status"]) == (503, "unavailable")
    assert json_of(answer)["checks"]["database"] == "schema is behind the code"


def test_a_schema_that_is_ahead_is_a_deploy_under_way(client, database):
    set_revision(database, "9999_from_a_newer_release")
    assert client.get("/health").json == {
        "status": "ok", "checks": ALL_WELL, "version": VERSION
    }  # fmt: skip


def test_a_schema_half_gone_is_behind(client, database):
    set_revision(database, None)
    assert client.get("/health").status_code == 503


def test_an_empty_database_is_behind(empty_database, tmp_path, redis_url):
    environ = databases.environ_for(empty_database, tmp_path, REDIS_URL=redis_url)
    with databases.app_for(databases.settings_for(environ, tmp_path)) as app:
        answer = app.test_client().get("/health")
    assert (answer.status_code, json_of(answer)["status"]) == (503, "unavailable")
    assert json_of(answer)["checks"]["database"] == "schema is behind the code"


def test_without_redis_it_is_degraded_not_down(make_app, redis_server):
    client = make_app(REDIS_URL=redis_server.url()).test_client()
    redis_server.stop()
    answer = client.get("/health")
    assert (answer.status_code, json_of(answer)["status"]) == (200, "degraded")
    assert json_of(answer)["checks"] == {"database": "ok", "redis": "does not answer"}
    assert make_app(REDIS_URL="").test_client().get("/health").json["checks"] == {
        "database": "ok", "redis": "not configured"
    }  # fmt: skip


def test_a_redis_that_hangs_is_degraded_within_a_second(make_app, redis_server):
    client = make_app(REDIS_URL=redis_server.url()).test_client()
    redis_server.pause()
    try:
        begun = time.monotonic()
        assert json_of(client.get("/health"))["status"] == "degraded"
        assert time.monotonic() - begun < 1
    finally:
        redis_server.resume()


def test_a_pool_that_is_used_up_is_not_the_database(app, client):
    store = app.extensions["payments"]
    with ThreadPoolExecutor(20) as pool:
        taken = list(pool.map(lambda _: store.checkout(), range(20)))
    try:
        assert json_of(client.get("/health"))["status"] == "ok"
    finally:
        for connection in taken:
            connection.close()


def test_a_write_under_way_is_no_fault(app_context, client):
    with unit_of_work():
        Sql("UPDATE idempotency_keys SET status = 1").run()
        assert json_of(client.get("/health"))["status"] == "ok"


def test_a_database_that_is_gone_is_unavailable(tmp_path, redis_url, postgres_server):
    url = postgres_server.url()
    environ = databases.environ_for(url, tmp_path, REDIS_URL=redis_url)
    with databases.app_for(databases.settings_for(environ, tmp_path)) as app:
        databases.migrate(url, tmp_path)
        client = app.test_client()
        assert json_of(client.get("/health"))["status"] == "ok"
        postgres_server.stop()
        answer = client.get("/health")
        assert (answer.status_code, json_of(answer)["checks"]["database"]) == (
            503,
            "does not answer",
        )
        assert "postgres" not in answer.text and str(postgres_server.folder) not in answer.text
        assert client.get("/health/live").status_code == 200
        postgres_server.start()
        assert client.get("/health").status_code == 200


def test_a_database_that_hangs_is_unavailable_within_a_second_and_holds_one_thread(
    tmp_path, redis_url, postgres_server
):
    url = postgres_server.url()
    environ = databases.environ_for(url, tmp_path, REDIS_URL=redis_url)
    with databases.app_for(databases.settings_for(environ, tmp_path)) as app:
        databases.migrate(url, tmp_path)
        postgres_server.pause()
        try:
            begun = time.monotonic()
            with ThreadPoolExecutor(5) as pool:
                answers = list(pool.map(lambda _: app.test_client().get("/health"), range(5)))
            assert time.monotonic() - begun < 2
            assert {answer.status_code for answer in answers} == {503}
            assert len(health._open) == 1
        finally:
            postgres_server.resume()
        deadline = time.monotonic() + 10
        while app.test_client().get("/health").status_code != 200:
            assert time.monotonic() < deadline


def test_a_locked_sqlite_file_still_answers(tmp_path, servers):
    with databases.fresh_sqlite(servers) as url:
        path = url.removeprefix("sqlite:///")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            environ = databases.environ_for(url, tmp_path)
            with databases.app_for(databases.settings_for(environ, tmp_path)) as app:
                assert app.test_client().get("/health").status_code == 200
        finally:
            other.close()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_probes_only_read(client, method):
    assert client.open("/health", method=method).status_code == 405
