"""`/metrics`: what api.md names is there from the start, and counts what happened, once."""

import re
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest
import requests as http
from prometheus_client import mmap_dict
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from payments import counters, db, totals
from payments.api.routing import routes_of
from payments.webhooks import endpoints
from tests.checkout import callers
from tests.checkout import world as money
from tests.children import send, wait_until
from tests.databases import SECRETS
from tests.processes import web
from tests.webhooks import world

TOKEN = "tests-metrics-0123456789abcdef0123456789"

Series = dict[str, float]


def read(text: str) -> Series:
    """Every sample as `name{label="value",...}`, labels in the order of their names."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{sample.labels[name]}"' for name in sorted(sample.labels))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, f"{key} stands there twice"
            found[key] = sample.value
    return found


def scrape(client) -> Series:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "text/plain"
    return read(answer.text)


def grown(before: Series, after: Series) -> Series:
    """What changed among the service's own totals."""
    return {
        key: value - before.get(key, 0)
        for key, value in after.items()
        if re.match(r"payments_\w+_total", key) and value != before.get(key, 0)
    }


def outcomes(name: str, label: str, *values: str) -> set[str]:
    return {f'{name}{{{label}="{value}"}}' for value in values}


FROM_THE_START = (
    outcomes("payments_webhook_deliveries_total", "outcome", "delivered", "failed", "canceled")
    | outcomes(
        "payments_webhook_attempts_total",
        "outcome",
        *("success", "http_3xx", "http_4xx", "http_5xx"),
        *("timeout", "dns", "tls", "connect", "blocked"),
    )
    | outcomes(
        "payments_rate_limited_total",
        "scope",
        *("address", "caller", "otp_phone", "otp_address", "otp_overall"),
    )
    | outcomes("payments_otp_requests_total", "outcome", "sent", "limited", "undelivered")
    | outcomes("payments_otp_verifications_total", "outcome", "success", "wrong", "limited")
    | outcomes(
        "payments_payments_total",
        "status",
        *("pending", "authorized", "succeeded", "canceled", "declined", "expired"),
    )
    | outcomes(
        "payments_old_secret_uses_total",
        "secret",
        *("JWT_SECRET", "INTERNAL_API_SECRET", "ADMIN_TOKEN", "ENCRYPTION_KEY"),
    )
    | {
        *('payments_amount_minor_total{currency="EUR",status="succeeded"}',),
        *("payments_webhook_backlog", "payments_webhook_overdue", "payments_read_only"),
        *("payments_ledger_discrepancies", "payments_unfolded_oldest_seconds"),
        "payments_reconcile_last_success_timestamp_seconds",
        "payments_backup_last_success_timestamp_seconds",
    }
)


def test_the_consoles_pages_are_one_route(client):
    asked = {"POST": "/admin/console/sign_in", "GET": "/admin/rq/0/view/jobs"}
    before = scrape(client)
    for method, path in asked.items():
        client.open(path, method=method)
    after = scrape(client)
    grew = {key for key in after if after[key] != before.get(key) and "_total{" in key}
    counted = {key for key in grew if key.startswith("http_requests_total") and "/admin" in key}
    assert len(counted) == 2 and all('route="/admin/"' in key for key in counted), grew
    pages = [key for key in after if re.search('route="/admin/(console|rq)', key)]
    assert pages == []


def test_every_series_stands_at_zero_from_the_start(client):
    found = scrape(client)
    assert FROM_THE_START - found.keys() == set()
    at_zero = {key for key in FROM_THE_START if not re.search("otp|rate_limited|old_secret", key)}
    assert {key: found[key] for key in at_zero} == dict.fromkeys(at_zero, 0)
    assert found["payments_database_up"] == 1
    assert any(key.startswith('payments_build_info{version="') for key in found)
    for route, method in (("/v1/payments", "POST"), ("/health", "GET"), ("unmatched", "GET")):
        assert f'http_requests_total{{method="{method}",route="{route}",status="500"}}' in found
        assert (
            f'http_request_duration_seconds_bucket{{le="0.5",method="{method}",route="{route}"}}'
            in found
        )
    assert not [key for key in found if key.endswith("_created") or "pid=" in key]


def test_every_status_that_a_route_declares_stands_at_zero_from_the_start(client):
    found = scrape(client)
    declared = {
        f'http_requests_total{{method="{one.method}",route="{one.rule}",status="{status}"}}'
        for one in routes_of(client.application)
        for status in (*one.statuses, 429, 500, 503)
    }
    assert declared - found.keys() == set()
    refund = 'http_requests_total{method="POST",route="/v1/refunds",status='
    assert {f'{refund}"{status}"}}' for status in (201, 401, 402, 403, 404, 409, 422)} <= declared


def test_requests_are_counted_by_template_never_by_path(client):
    before = scrape(client)
    client.get("/v1/payments/pay_0123456789abcdef0123456789abcdef")
    client.get("/wp-admin/setup.php")
    client.open("/health", method="BREW")
    client.post("/health")
    after = scrape(client)
    new = {
        key: value - before.get(key, 0)
        for key, value in after.items()
        if key.startswith("http_requests_total") and value != before.get(key, 0)
    }
    assert new == {
        'http_requests_total{method="GET",route="/metrics",status="200"}': 1,
        'http_requests_total{method="GET",route="/v1/payments/<payment_id>",status="401"}': 1,
        'http_requests_total{method="GET",route="unmatched",status="404"}': 1,
        'http_requests_total{method="OTHER",route="unmatched",status="405"}': 1,
        'http_requests_total{method="POST",route="unmatched",status="405"}': 1,
    }


def test_the_token_is_asked_for_where_there_is_one(make_app):
    client = make_app(METRICS_TOKEN=f"{TOKEN},{TOKEN}-old").test_client()
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer no"},
        {"Authorization": f"Basic {TOKEN}"},
    )
    for headers in wrong:
        answer = client.get("/metrics", headers=headers)
        assert callers.refused(answer) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    answers = [
        client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        for token in (TOKEN, f"{TOKEN}-old", TOKEN)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    key = 'payments_old_secret_uses_total{secret="METRICS_TOKEN"}'
    assert read(answers[2].text)[key] - read(answers[0].text)[key] == 1


def test_the_text_is_the_one_that_is_written_fast_whatever_prometheus_would_rather_have(client):
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE http_requests_total counter\n" in answer.text


@pytest.mark.usefixtures("app_context")
def test_a_payment_is_counted_in_each_status_it_comes_into(client):
    customer = money.customer("+4915155555555", has=1000)
    shop = callers.with_key(client, money.merchant())
    payer = callers.signed_in(client, customer)
    before = scrape(client)
    asked = {"amount": 300, "currency": "EUR"}
    made = callers.told(shop.post("/v1/payments", asked, key="one"), 201)
    shop.post("/v1/payments", asked, key="one")  # a replay is no second one
    callers.told(payer.post(f"/v1/payments/{made['id']}/confirm"))
    too_dear = callers.told(shop.post("/v1/payments", asked | {"amount": 9000}), 201)
    assert payer.post(f"/v1/payments/{too_dear['id']}/confirm").status_code == 402
    callers.told(shop.post(f"/v1/payments/{too_dear['id']}/cancel"))
    assert grown(before, scrape(client)) == {
        'payments_payments_total{status="pending"}': 2,
        'payments_payments_total{status="succeeded"}': 1,
        'payments_payments_total{status="canceled"}': 1,
        'payments_amount_minor_total{currency="EUR",status="pending"}': 9300,
        'payments_amount_minor_total{currency="EUR",status="succeeded"}': 300,
        'payments_amount_minor_total{currency="EUR",status="canceled"}': 9000,
    }


@pytest.mark.usefixtures("app_context")
def test_deliveries_count_where_they_end(client):
    shop = world.merchant()
    first = world.endpoint(shop, events="payment.succeeded")
    world.endpoint(shop, events="refund.succeeded", status="disabled")
    before = scrape(client)
    world.happen(shop, 3)
    world.happen(shop, 2, type="refund.succeeded")
    now = scrape(client)
    canceled = 'payments_webhook_deliveries_total{outcome="canceled"}'
    assert grown(before, now) == {canceled: 2}
    assert now["payments_webhook_backlog"] == 3
    money.did(lambda: endpoints.disable(first, "operator"))
    after = scrape(client)
    assert grown(now, after) == {canceled: 3}
    assert after["payments_webhook_backlog"] == 0


@pytest.mark.usefixtures("app_context")
def test_what_is_overdue_is_what_nothing_holds_back(client):
    def overdue() -> float:
        return scrape(client)["payments_webhook_overdue"]

    shop = world.merchant()
    open_, closed = world.endpoint(shop, proven=True), world.endpoint(shop)
    world.happen(shop, 2)
    assert overdue() == 0
    for row in world.deliveries():
        world.change("deliveries", row.id, next_attempt_at=world.shift(-120))
    assert overdue() == 4
    world.change("webhook_endpoints", closed, closed_until=world.shift(60))
    assert overdue() == 2
    mine = [row for row in world.deliveries() if row.endpoint_id == open_]
    world.change("deliveries", mine[0].id, lease_until=world.shift(60), lease_token="x")
    assert overdue() == 1
    admin = {"X-Admin-Token": SECRETS["ADMIN_TOKEN"].partition(":")[2]}
    stop = client.post("/admin/config/read_only", headers=admin, json={"on": True, "reason": "x"})
    assert stop.status_code == 200, stop.text
    found = scrape(client)
    assert (found["payments_webhook_overdue"], found["payments_read_only"]) == (0, 1)


@pytest.mark.usefixtures("app_context")
def test_what_is_rolled_back_was_never_counted():
    total = totals.total("tests_total", "Of tests.", kind=("a", "b"))
    try:
        with pytest.raises(ZeroDivisionError), db.unit_of_work():
            total.grow(kind="a")
            _ = 1 // 0
        with db.unit_of_work():
            total.grow(kind="a")
            total.grow(3, kind="a")
            total.grow(0, kind="b")
        with db.unit_of_work():
            total.grow(2, kind="b")
            total.grow(1, kind="a")
        assert totals.read()["tests_total"] == {("a",): 5, ("b",): 2}
        with db.unit_of_work():
            with pytest.raises(ValueError):
                total.grow(-1, kind="a")
            with pytest.raises(ValueError):
                total.grow(sort="a")
    finally:
        del totals.TOTALS["tests_total"]
    assert "tests_total" not in totals.read()


def test_limits_and_codes_are_counted(make_app):
    client = make_app(RATE_LIMIT_PER_MINUTE="6", OTP_PER_PHONE_HOUR="2").test_client()
    before = scrape(client)
    asked = [client.post("/v1/auth/otp", json={"phone": "+4915155555555"}) for _ in range(3)]
    assert [answer.status_code for answer in asked] == [202, 202, 429]
    guess = {"challenge_id": asked[1].json["challenge_id"], "code": "000000"}
    assert client.post("/v1/auth/token", json=guess).status_code == 401  # but once in a million
    client.get("/v1/wallets")
    client.get("/v1/wallets")
    assert client.get("/v1/wallets").status_code == 429
    new = grown(before, scrape(client))
    assert new['payments_otp_requests_total{outcome="sent"}'] == 2
    assert new['payments_otp_requests_total{outcome="limited"}'] == 1
    assert new['payments_rate_limited_total{scope="otp_phone"}'] == 1
    assert new['payments_rate_limited_total{scope="address"}'] == 1
    assert new['payments_otp_verifications_total{outcome="wrong"}'] == 1


def test_a_database_that_is_gone_leaves_the_rest(postgres_server, make_app):
    client = make_app(DB_URL=postgres_server.url("postgres")).test_client()
    postgres_server.kill()
    found = scrape(client)
    assert found["payments_database_up"] == 0
    assert 'payments_payments_total{status="pending"}' not in found
    assert "payments_redis_up" in found and any("http_requests_total" in key for key in found)


@pytest.mark.slow
def test_processes_tell_one_sum_and_the_dead_are_not_forgotten(environ, tmp_path):
    with web({**environ, "METRICS_TOKEN": TOKEN}, tmp_path, workers=2) as service:

        def counted() -> float:
            answer = http.get(
                service.url("/metrics"), headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5
            )
            assert answer.status_code == 200, answer.text
            key = f'http_requests_total{{method="GET",route="{counters.UNMATCHED}",status="404"}}'
            return read(answer.text)[key]

        def ask(count: int) -> None:
            for _ in range(count):
                assert http.get(service.url("/none"), timeout=5).status_code == 404

        assert counted() == 0
        ask(60)
        assert {counted() for _ in range(6)} == {60}
        before = service.workers()
        send(before[0], signal.SIGKILL)
        wait_until(lambda: len(set(service.workers()) - {before[0]}) == 2, "a new web process")
        wait_until(lambda: counted() == 60, "the sum as it was")
        ask(10)
        assert {counted() for _ in range(6)} == {70}


def write_counted(folder: Path, process: int) -> None:
    """As a web process leaves its files: the second one has a route more."""
    counted = mmap_dict.MmapedDict(str(folder / f"counter_{process}.db"))
    took = mmap_dict.MmapedDict(str(folder / f"histogram_{process}.db"))
    for route in ("/health", "/v1/pay")[:process]:
        labels = ["method", "route"], ["GET", route]
        key = mmap_dict.mmap_key("http_requests", "http_requests_total", *labels, "Answered.")
        counted.write_value(key, 3.0 * process, 0.0)
        name = "http_request_duration_seconds"
        took.write_value(mmap_dict.mmap_key(name, f"{name}_sum", *labels, "Took."), 0.5, 0.0)
        for below, value in (("0.5", 2.0), ("2.5", 0.0), ("10.0", 1.0), ("+Inf", 1.0)):
            names, values = [*labels[0], "le"], [*labels[1], below]
            key = mmap_dict.mmap_key(name, f"{name}_bucket", names, values, "Took.")
            took.write_value(key, value * process, 0.0)
    counted.close()
    took.close()


def test_the_sum_of_processes_is_the_library_s_own_and_keys_are_read_once(tmp_path, monkeypatch):
    for process in (1, 2):
        write_counted(tmp_path, process)

    def told(families: Iterable[Metric]) -> set[str]:
        return {
            f"{one.type} {one.documentation} {each.name}{sorted(each.labels.items())} {each.value}"
            for one in families
            for each in one.samples
        }

    wanted = told(MultiProcessCollector(None, path=str(tmp_path)).collect())
    assert any(each.endswith(" 9.0") for each in wanted)
    assert told(counters.of_all_processes(tmp_path)) == wanted
    monkeypatch.setattr("json.loads", None)
    assert told(counters.of_all_processes(tmp_path)) == wanted


def test_a_redis_that_nobody_configured_is_not_missed(make_app):
    found = scrape(make_app(REDIS_URL="").test_client())
    assert not [key for key in found if "redis_up" in key or "payments_rq" in key]
