"""Settings: all faults at once, unsafe production refused by name, nothing secret shown."""

import contextvars
import multiprocessing
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from payments import config, devenv, unsafe
from payments.config import ConfigError, NamedSecret, Settings, load_settings

STRONG = {
    "JWT_SECRET": "pS7v0rZ1mQ4kX8wB2nD6hL9tF3cG5jYaEeRiUoIp",
    "SECRET_KEY": "Zk3xV9bN1mL7qW5eR2tY8uI4oP6aS0dFgHjKlQwE",
    "INTERNAL_API_SECRET": "taxi:Qa1Ws2Ed3Rf4Tg5Yh6Uj7Ik8Ol9PzXcVbNmAs",
    "ADMIN_TOKEN": "alice:Mn5Bv4Cx3Zl2Kj1Hg0Fd9Sa8Po7Iu6Yt5Re4Wq",
    "METRICS_TOKEN": "t8Gk2Lp5Vx9Rd3Hw7Ns1Qc6Zm4Yb0JfUaEiOuTrY",
    "ENCRYPTION_KEY": "c3JDVGdWUm1Nd1lEc0p4S2ZIcVpiTnVXZUxvUHpBaTk=",
}
PRODUCTION = STRONG | {
    "ENV": "production",
    "DATABASE_URL": "postgres://pay:hunter2hunter@db.example/pay?sslmode=require",
    "REDIS_URL": "redis://cache.example:6379/0",
    "SMS_BACKEND": "http",
    "SMS_HTTP_URL": "https://sms.example/send",
    "TRUSTED_PROXIES": "1",
    "PUBLIC_URL": "https://pay.example/",
}


def faults(environ: dict[str, str], root: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_settings(environ, root=root)
    assert str(refused.value) == "\n".join(refused.value.faults)
    return refused.value.faults


def named(environ: dict[str, str], root: Path) -> list[str]:
    return [fault.partition(":")[0] for fault in faults(environ, root)]


def test_nothing_set_is_development_on_sqlite(tmp_path):
    settings = load_settings({}, root=tmp_path)
    assert settings.env == "development"
    assert not settings.is_production
    assert settings.on_sqlite
    assert settings.db_url == f"sqlite:///{tmp_path}/instance/payments.db"
    assert settings.redis_url is None
    assert settings.metrics_token == ()
    assert (settings.merchant_auto_approve, settings.webhook_allow_private_targets) == (True, True)
    assert (settings.otp_per_phone_hour, settings.otp_per_address_hour) == (5, 10_000)
    assert settings.public_url == "http://127.0.0.1:8080"


def test_what_was_set_wins_over_the_defaults_of_development(tmp_path):
    settings = load_settings(
        {
            "PORT": "9000",
            "MERCHANT_AUTO_APPROVE": "false",
            "OTP_PER_ADDRESS_HOUR": "7",
            "DEFAULT_REGION": "de",
            "LOG_LEVEL": "debug",
            "DB_URL": "sqlite:////srv/other.db",
        },
        root=tmp_path,
    )
    assert settings.public_url == "http://127.0.0.1:9000"
    assert settings.merchant_auto_approve is False
    assert settings.otp_per_address_hour == 7
    assert settings.default_region == "DE"
    assert settings.log_level == "DEBUG"
    assert settings.db_url == "sqlite:////srv/other.db"


def test_a_variable_set_to_nothing_is_not_set(tmp_path):
    settings = load_settings({"REDIS_URL": "", "PORT": " ", "DEFAULT_REGION": ""}, root=tmp_path)
    assert (settings.redis_url, settings.port, settings.default_region) == (None, 8080, "")


def test_the_dotenv_file_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / ".env").write_text("PORT=9001\nFEE_BPS=25\nPUBLIC_URL=http://a.example/$PORT\n")
    settings = load_settings({"PORT": "9002"}, root=tmp_path)
    assert (settings.port, settings.fee_bps) == (9002, 25)
    assert settings.public_url == "http://a.example/$PORT"


def test_development_secrets_are_made_once_and_kept_to_their_owner(tmp_path):
    first = load_settings({}, root=tmp_path)
    again = load_settings({}, root=tmp_path)
    assert first == again
    file = tmp_path / "instance" / devenv.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for secrets in unsafe.secret_lists(first).values():
        assert [unsafe.weakness(secret) for secret in secrets] in ([None], [])
    assert first.admin_token[0].name == "default"


def test_a_secret_that_dev_env_lacks_is_added_to_those_it_has(tmp_path):
    (tmp_path / "instance").mkdir()
    file = tmp_path / "instance" / devenv.FILE
    file.write_text("JWT_SECRET=kept\n")
    settings = load_settings({}, root=tmp_path)
    assert settings.jwt_secret == ("kept",)
    assert f"ADMIN_TOKEN={settings.admin_token[0].secret}\n" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _load(root: Path, ready, results) -> None:
    ready.wait()
    results.put(load_settings({}, root=root).secret_texts())


def test_processes_that_start_at_once_end_with_the_same_secrets(tmp_path):
    fork = multiprocessing.get_context("spawn")
    ready, results = fork.Barrier(4), fork.Queue()
    starters = [fork.Process(target=_load, args=(tmp_path, ready, results)) for _ in range(4)]
    for starter in starters:
        starter.start()
    found = {results.get(timeout=60) for _ in starters}
    for starter in starters:
        starter.join()
    assert len(found) == 1
    assert [path.name for path in (tmp_path / "instance").glob("*.new")] == []


def test_a_hosts_environment_without_env_is_refused(tmp_path):
    assert named({"DATABASE_URL": PRODUCTION["DATABASE_URL"]}, tmp_path) == ["ENV"]
    assert named({"DYNO": "web.1"}, tmp_path) == ["ENV"]
    assert named({"ENV": "staging"}, tmp_path) == ["ENV"]
    assert not (tmp_path / "instance").exists()
    meant = load_settings({"ENV": "development", "DATABASE_URL": "postgres://db/x"}, root=tmp_path)
    assert meant.db_url == "postgresql+psycopg://db/x"


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("postgresql://pay:x@db.example/pay", {}),
        ("postgres://pay:x@10.0.0.7:5432/pay", {}),
        ("postgresql+psycopg://pay:x@[2001:db8::1]/pay", {}),
        ("postgresql://pay:x@localhost.example/pay", {}),
        ("postgresql://pay:x@/pay?host=db.example", {}),
        ("postgresql://pay:x@/pay?host=/run/postgresql,db.example", {}),
        ("postgresql://pay:x@localhost/pay?hostaddr=10.0.0.7", {}),
        ("postgresql://pay:x@/pay?service=live", {}),
        ("postgresql://pay:x@/pay", {"PGHOST": "db.example"}),
        ("postgresql://pay:x@/pay", {"PGHOSTADDR": "10.0.0.7"}),
        ("postgresql://pay:x@/pay", {"PGSERVICE": "live"}),
    ],
)
def test_a_database_elsewhere_without_env_is_refused(url, more, tmp_path):
    (fault,) = faults({"DB_URL": url, **more}, tmp_path)
    assert fault.startswith("ENV: is not set, and DB_URL is a Postgres that may be another")
    assert not (tmp_path / "instance").exists()
    meant = load_settings({"DB_URL": url, "ENV": "development", **more}, root=tmp_path)
    assert meant.env == "development"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://pay@localhost/pay",
        "postgres://pay@127.0.0.1:5433/pay",
        "postgresql://pay@[::1]/pay",
        "postgresql://pay@/pay",
        "postgresql://pay@/pay?host=/run/postgresql&port=5433",
        "sqlite:///pay.db",
    ],
)
def test_a_developers_own_database_needs_no_env(url, tmp_path):
    assert load_settings({"DB_URL": url}, root=tmp_path).env == "development"


def test_safe_production_values_are_taken(tmp_path):
    settings = load_settings(PRODUCTION, root=tmp_path)
    assert settings.is_production
    assert settings.db_url == (
        "postgresql+psycopg://pay:hunter2hunter@db.example/pay?sslmode=require"
    )
    assert settings.internal_api_secret == (
        NamedSecret("taxi", "Qa1Ws2Ed3Rf4Tg5Yh6Uj7Ik8Ol9PzXcVbNmAs"),
    )
    assert settings.public_url == "https://pay.example"
    assert (settings.merchant_auto_approve, settings.webhook_allow_private_targets) == (
        False,
        False,
    )
    assert (settings.otp_per_address_hour, settings.web_concurrency) == (30, 2)
    assert not (tmp_path / "instance").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *((name, "") for name in STRONG),
        *((name, "short") for name in STRONG if name != "ENCRYPTION_KEY"),
        *((name, "ab" * 20) for name in STRONG if name != "ENCRYPTION_KEY"),
        *((name, "0123456789abcdef" * 2) for name in STRONG if name != "ENCRYPTION_KEY"),
        *((name, "change-me-" * 4 + "x") for name in STRONG if name != "ENCRYPTION_KEY"),
        ("ADMIN_TOKEN", "alice:" + "x" * 31),
        ("JWT_SECRET", f"{STRONG['JWT_SECRET']},short"),
        ("JWT_SECRET", "abcdefghijklmnopqrstuvwxyz0123456789"),
        ("ENCRYPTION_KEY", "not a key"),
        ("ENCRYPTION_KEY", f"{STRONG['ENCRYPTION_KEY']},nonsense"),
        ("ENCRYPTION_KEY", "A" * 43 + "="),
        ("REDIS_URL", ""),
        ("SMS_BACKEND", "console"),
        ("SMS_BACKEND", ""),
        ("SMS_HTTP_URL", ""),
        ("SMS_HTTP_URL", "http://sms.example/send"),
        ("OTP_PER_PHONE_HOUR", "21"),
        ("TRUSTED_PROXIES", ""),
        ("WEBHOOK_ALLOW_PRIVATE_TARGETS", "true"),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "http://pay.example"),
    ],
)
def test_each_unsafe_production_value_alone_is_refused_by_name(variable, value, tmp_path):
    assert named(PRODUCTION | {variable: value}, tmp_path) == [variable]


@pytest.mark.parametrize("url", ["", "sqlite:////srv/pay.db"])
def test_production_on_sqlite_is_refused(url, tmp_path):
    assert named(PRODUCTION | {"DATABASE_URL": url}, tmp_path) == ["DB_URL"]


def test_operators_whose_names_differ_by_case_alone_are_refused(tmp_path):
    both = PRODUCTION["ADMIN_TOKEN"] + ",{}:" + PRODUCTION["ADMIN_TOKEN"][:5:-1]
    (told,) = faults(PRODUCTION | {"ADMIN_TOKEN": both.format("Alice")}, tmp_path)
    assert told.startswith("ADMIN_TOKEN: has names that differ by case alone")
    assert load_settings(PRODUCTION | {"ADMIN_TOKEN": both.format("alice")}, root=tmp_path)


def test_a_secret_used_twice_is_refused(tmp_path):
    twice = PRODUCTION | {"SECRET_KEY": PRODUCTION["JWT_SECRET"]}
    assert faults(twice, tmp_path) == ["SECRET_KEY: is the same secret as in JWT_SECRET"]
    hidden = PRODUCTION | {"ADMIN_TOKEN": "bob:" + PRODUCTION["METRICS_TOKEN"]}
    assert named(hidden, tmp_path) == ["METRICS_TOKEN"]


def test_a_published_or_a_development_secret_is_refused_in_production(tmp_path):
    published = "bW9yZSByYW5kb20gdGhhbiB5b3UgbWlnaHQgdGhpbms"
    (tmp_path / ".env.example").write_text(f"JWT_SECRET={published}\n")
    here = load_settings({}, root=tmp_path).secret_key[0]
    found = faults(PRODUCTION | {"JWT_SECRET": published, "SECRET_KEY": here}, tmp_path)
    assert found == [
        "JWT_SECRET: is the value of .env.example, which anybody can read",
        "SECRET_KEY: is a development secret from dev.env",
    ]


def test_all_faults_are_named_at_once_and_no_value_is_echoed(tmp_path):
    environ = {
        "ENV": "production",
        "ADMIN_TOKEN": "alice:s3cr3t-s3cr3t",
        "DATABASE_URL": "mysql://root:toor@db/x",
        "PORT": "eighty",
        "FEE_BPS": "1.5",
        "WEBHOOK_TIMEOUT_SECS": "nan",
    }
    found = faults(environ, tmp_path)
    assert sorted({fault.partition(":")[0] for fault in found}) == [
        "ADMIN_TOKEN",
        "DATABASE_URL",
        "ENCRYPTION_KEY",
        "FEE_BPS",
        "INTERNAL_API_SECRET",
        "JWT_SECRET",
        "METRICS_TOKEN",
        "PORT",
        "PUBLIC_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "SMS_BACKEND",
        "TRUSTED_PROXIES",
        "WEBHOOK_TIMEOUT_SECS",
    ]
    for value in ("s3cr3t", "toor", "eighty", "1.5"):
        assert value not in "\n".join(found)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DB_URL", "nonsense"),
        ("DB_URL", "mysql://db/x"),
        ("DB_URL", "postgresql+psycopg2://db/x"),
        ("DB_URL", "postgresql://db"),
        ("DB_URL", "sqlite://"),
        ("DB_URL", "sqlite:///:memory:"),
        ("DB_URL", "sqlite:///x.db?mode=ro"),
        ("REDIS_URL", "http://cache"),
        ("JWT_SECRET", "one,,two"),
        ("JWT_SECRET", "one,one"),
        ("ADMIN_TOKEN", "a b:secret"),
        ("ADMIN_TOKEN", "alice:"),
        ("ADMIN_TOKEN", "alice:one,bob:one"),
        ("ENCRYPTION_KEY", "x"),
        ("INTERNAL_REQUIRE_HMAC", "perhaps"),
        ("WEBHOOK_BASE_DELAY_SECS", "0"),
        ("WEBHOOK_BACKOFF_FACTOR", "0.5"),
        ("WEBHOOK_BACKOFF_FACTOR", "inf"),
        ("WEBHOOK_MAX_ATTEMPTS", "0"),
        ("WEBHOOK_TIMEOUT_SECS", "31"),
        ("WEBHOOK_WORKER_POLL_SECS", "-1"),
        ("RATE_LIMIT_PER_MINUTE", "0"),
        ("RATE_LIMIT_AUTH_BOOST", "101"),
        ("OTP_PER_HOUR", "0"),
        ("DEFAULT_CURRENCY", "eur"),
        ("DEFAULT_CURRENCY", "XXX"),
        ("DEFAULT_REGION", "ZZ"),
        ("FEE_BPS", "10001"),
        ("FEE_FIXED_MINOR", "-1"),
        ("SMS_BACKEND", "pigeon"),
        ("SMS_HTTP_URL", "ftp://sms"),
        ("PUBLIC_URL", "pay.example"),
        ("PUBLIC_URL", "https://pay.example/?a=1"),
        ("PUBLIC_URL", "https://[pay/"),
        ("TRUSTED_PROXIES", "-1"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("SENTRY_DSN", "sentry"),
    ],
)
def test_each_wrong_value_is_refused_by_name_in_development_too(variable, value, tmp_path):
    assert named({variable: value}, tmp_path) == [variable]


def test_http_sms_needs_its_url_in_development_too(tmp_path):
    assert named({"SMS_BACKEND": "http"}, tmp_path) == ["SMS_HTTP_URL"]


def test_lists_keep_their_order_and_their_names(tmp_path):
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    settings = load_settings(
        {
            "JWT_SECRET": "new, old",
            "ADMIN_TOKEN": "alice:new,alice:old,plain",
            "ENCRYPTION_KEY": ",".join(keys),
        },
        root=tmp_path,
    )
    assert settings.jwt_secret == ("new", "old")
    assert settings.admin_token == (
        NamedSecret("alice", "new"),
        NamedSecret("alice", "old"),
        NamedSecret("default", "plain"),
    )
    assert settings.encryption_key == tuple(keys)


def test_a_relative_sqlite_file_lies_in_the_repository_wherever_one_stands(tmp_path):
    settings = load_settings({"DB_URL": "sqlite:///some/pay.db"}, root=tmp_path)
    assert settings.db_url == f"sqlite:///{config.ROOT}/some/pay.db"


def test_the_text_of_settings_shows_no_secret(tmp_path):
    environ = PRODUCTION | {
        "SMS_HTTP_AUTHORIZATION": "Basic c21zOnNtcw==",
        "REDIS_URL": "rediss://:ca%40che-pass@cache.example/0",
        "SENTRY_DSN": "https://public:dsn-private@sentry.example/1",
    }
    settings = load_settings(environ, root=tmp_path)
    shown = f"{settings} {settings!r} {settings.admin_token!r}"
    secrets = settings.secret_texts()
    assert {"hunter2hunter", "ca%40che-pass", "ca@che-pass", "dsn-private"} <= set(secrets)
    assert {"Basic c21zOnNtcw==", STRONG["JWT_SECRET"], STRONG["ENCRYPTION_KEY"]} <= set(secrets)
    assert [secret for secret in secrets if secret in shown] == []
    assert "alice" in shown
    assert "https://pay.example" in shown


def test_settings_do_not_change(tmp_path):
    settings = load_settings({}, root=tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, "port", 1)  # noqa: B010 (mypy knows as well)


def test_settings_read_nothing_behind_the_callers_back(monkeypatch):
    monkeypatch.setenv("PORT", "9999")
    assert Settings().port == 8080


def test_current_is_what_was_put_to_use_in_this_context(tmp_path):
    settings = load_settings({}, root=tmp_path)
    token = config.use(settings)
    try:
        assert config.current() is settings
    finally:
        config._current.reset(token)


def test_current_without_any_says_what_is_missing():
    with pytest.raises(LookupError, match="create_app"):
        contextvars.Context().run(config.current)  # whatever other tests left in use here
