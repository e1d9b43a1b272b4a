"""Settings: the environment, read once, checked whole, frozen.

A setting's name here is its variable in lower case. What the process was given wins over `.env`
in the root, and in development what is still missing among the secrets comes from
`instance/dev.env` (`devenv.py`). All faults are named at once, so that a deploy is mended in one
go; values are never echoed. Lists of secrets: the first signs, all verify.
"""

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import phonenumbers
from cryptography.fernet import Fernet
from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from payments import devenv, unsafe
from payments.money import MAX_AMOUNT, is_currency

ROOT = Path(__file__).resolve().parents[1]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_POSTGRES = re.compile(r"(postgres|postgresql|postgresql\+psycopg)://", re.ASCII)


class ConfigError(Exception):
    """The settings can't be used. `faults`: one line each, the variable's name first."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """A secret and the name it goes by in the audit, the idempotency scope and the budget."""

    name: str
    secret: str = field(repr=False)


def _entries(raw: object) -> tuple[str, ...]:
    """The entries of a comma-separated list, in order."""
    if not isinstance(raw, str):
        return tuple(raw) if isinstance(raw, (tuple, list)) else ()
    entries = tuple(entry.strip() for entry in raw.split(","))
    if not all(entries):
        raise ValueError("has an empty entry: write the secrets with one comma between them")
    if len(set(entries)) != len(entries):
        raise ValueError("has the same entry twice")
    return entries


def _named_entries(raw: object) -> tuple[NamedSecret, ...]:
    """The entries of a list in which each may be `name:secret`; `default` without a name."""
    if not isinstance(raw, str):
        return tuple(raw) if isinstance(raw, (tuple, list)) else ()
    named = []
    for place, entry in enumerate(_entries(raw), start=1):
        name, colon, secret = entry.partition(":")
        if not colon:
            name, secret = "default", entry
        if not _NAME.fullmatch(name) or not secret:
            raise ValueError(
                f"entry {place} is neither a secret nor name:secret (a name is 1 to 63 letters, "
                "digits, dots, dashes or underscores; a secret has no colon)"
            )
        named.append(NamedSecret(name, secret))
    if len({entry.secret for entry in named}) != len(named):
        raise ValueError("has the same secret twice")
    return tuple(named)


def _told_apart(entries: tuple[NamedSecret, ...]) -> tuple[NamedSecret, ...]:
    """Two operators are two names to people too: one of them approves what the other proposed."""
    names = {entry.name for entry in entries}
    if len({name.casefold() for name in names}) != len(names):
        raise ValueError(
            "has names that differ by case alone; give one person's entries the very same name, and"
            " each person a name of their own"
        )
    return entries


def _fernet_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    for place, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(
                f"entry {place} is not a Fernet key (32 random bytes in URL-safe base64)"
            ) from None
    return keys


def _database(url: str) -> str:
    """The URL as SQLAlchemy needs it: psycopg 3, or an SQLite file by its whole path."""
    refusal = "use postgresql://user:password@host/database or sqlite:///file"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a database URL: {refusal}") from None
    if _POSTGRES.match(url):
        if not parsed.database:
            raise ValueError(f"names no database: {refusal}")
        return _POSTGRES.sub("postgresql+psycopg://", url, count=1)
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"is neither Postgres nor SQLite: {refusal}")
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise ValueError("SQLite needs a file that processes can share: sqlite:///file, no more")
    return f"sqlite:///{(ROOT / parsed.database).resolve()}"


def _redis(url: str) -> str:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("is not a Redis URL: use redis://, rediss:// or unix://")
    return url


def _web_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", url):
        raise ValueError("is not an http:// or https:// URL")
    return url


def _base_url(url: str) -> str:
    _web_url(url)
    if urlsplit(url).query or urlsplit(url).fragment:
        raise ValueError("is a base URL: no query, no fragment")
    return url.rstrip("/")


def _url_passwords(url: str) -> list[str]:
    """The passwords in a URL, as written and as read."""
    _, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    written = [authority.rpartition("@")[0].partition(":")[2]]
    written += re.findall(r"[?&]password=([^&#]*)", path)
    return [form for text in written for form in (text, unquote(text))]


def _currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError("is not an ISO 4217 currency in upper case, such as EUR")
    return code


def _region(code: str) -> str:
    code = code.upper()
    if code and code not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("is not a two-letter region that has phone numbers, such as DE")
    return code


def _as_upper(raw: object) -> object:
    return raw.upper() if isinstance(raw, str) else raw


def _as_lower(raw: object) -> object:
    return raw.lower() if isinstance(raw, str) else raw


Secrets = Annotated[tuple[str, ...], BeforeValidator(_entries), Field(repr=False)]
NamedSecrets = Annotated[
    tuple[NamedSecret, ...], BeforeValidator(_named_entries), Field(repr=False)
]
Redis = Annotated[str, AfterValidator(_redis)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
PerHour = Annotated[int, Field(ge=1, le=1_000_000)]


class Settings(BaseSettings):
    """Every setting, typed and bounded. Units stand in the name or beside the setting.

    Made by `load_settings`; nothing is read from the process's environment behind its back.
    Its text never shows a secret.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    env: Annotated[Literal["development", "production"], BeforeValidator(_as_lower)] = "development"
    instance_dir: Path = ROOT / "instance"
    db_url: Annotated[str, AfterValidator(_database), Field(repr=False)] = (
        "sqlite:///instance/payments.db"
    )
    redis_url: Annotated[Redis | None, Field(repr=False)] = None

    jwt_secret: Secrets = ()
    secret_key: Secrets = ()
    internal_api_secret: NamedSecrets = ()
    internal_require_hmac: bool = False
    admin_token: Annotated[NamedSecrets, AfterValidator(_told_apart)] = ()
    metrics_token: Secrets = ()
    encryption_key: Annotated[Secrets, AfterValidator(_fernet_keys)] = ()

    read_only: bool = False

    webhook_base_delay_secs: Annotated[Seconds, Field(ge=0.01, le=3600)] = 10
    webhook_backoff_factor: Annotated[Seconds, Field(ge=1, le=10)] = 3
    webhook_max_attempts: Annotated[int, Field(ge=1, le=30)] = 11
    # At most 30: a lease is this and 30 s, and a dead worker's delivery is taken over within 60 s.
    webhook_timeout_secs: Annotated[Seconds, Field(ge=0.1, le=30)] = 10
    webhook_worker_poll_secs: Annotated[Seconds, Field(ge=0.1, le=300)] = 5
    webhook_allow_private_targets: bool = False

    rate_limit_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 120
    rate_limit_auth_boost: Annotated[int, Field(ge=1, le=100)] = 2
    otp_per_phone_hour: PerHour = 5
    otp_per_address_hour: PerHour = 30
    otp_per_hour: PerHour = 10_000

    default_currency: Annotated[str, AfterValidator(_currency)] = "EUR"
    default_region: Annotated[str, AfterValidator(_region)] = ""
    fee_bps: Annotated[int, Field(ge=0, le=10_000)] = 0
    fee_fixed_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] = 0
    merchant_auto_approve: bool = False

    sms_backend: Annotated[Literal["console", "http"], BeforeValidator(_as_lower)] = "console"
    sms_http_url: Annotated[WebUrl | None, Field(repr=False)] = None
    sms_http_authorization: Annotated[str | None, Field(repr=False)] = None

    public_url: BaseUrl = "http://127.0.0.1:8080"
    trusted_proxies: Annotated[int, Field(ge=0, le=10)] = 0
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    web_concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_as_upper)
    ] = "INFO"
    log_format: Annotated[Literal["auto", "json", "plain"], BeforeValidator(_as_lower)] = "auto"
    sentry_dsn: Annotated[WebUrl | None, Field(repr=False)] = None
    prometheus_url: Annotated[BaseUrl | None, Field(repr=False)] = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The caller's values alone: which environment counts is `load_settings`'s business."""
        return (init_settings,)

    @property
    def is_production(self) -> bool:
        """Whether unsafe values are refused and the service listens to more than this machine."""
        return self.env == "production"

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is an SQLite file."""
        return self.db_url.startswith("sqlite:")

    def secret_texts(self) -> tuple[str, ...]:
        """Every text that must never be logged: secrets, and passwords inside URLs."""
        found = [secret for secrets in unsafe.secret_lists(self).values() for secret in secrets]
        found += [self.sms_http_authorization or ""]
        urls = (self.db_url, self.redis_url, self.sms_http_url, self.sentry_dsn)
        for url in (*urls, self.prometheus_url):
            found += _url_passwords(url) if url else []
        return tuple(text for text in found if text)


VARIABLES = tuple(name.upper() for name in Settings.model_fields)
"""Every variable that is read. `DATABASE_URL` is another name of `DB_URL`, which wins."""


def _given(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    """What was set, over what stands in `.env`; a variable set to nothing is not set."""
    merged = dotenv_values(root / ".env", interpolate=False) | dict(environ)
    return {name: value.strip() for name, value in merged.items() if value and value.strip()}


def _environment(given: Mapping[str, str], serves: bool) -> str:
    """`development` or `production`. Raises ConfigError: the rest can't be judged without it."""
    env = given.get("ENV", "").lower()
    if env in {"development", "production"}:
        return env
    if env:
        raise ConfigError(["ENV: is neither development nor production"])
    hosted = [name for name in ("DATABASE_URL", "DYNO") if name in given]
    why = f"{' and '.join(hosted)} looks like a host's" if hosted else ""
    url = given.get("DB_URL", "")
    if not hosted and _POSTGRES.match(url) and unsafe.may_be_elsewhere(url, given):
        why = "DB_URL is a Postgres that may be another machine's"
    if why and not serves:
        return "production"
    if why:
        raise ConfigError(
            [f"ENV: is not set, and {why}: set ENV to production, or to development if it is meant"]
        )
    return "development"


def _values(given: Mapping[str, str], env: str, root: Path) -> dict[str, Any]:
    """The values to check, by field: what was given over the defaults of the environment."""
    instance = (root / given.get("INSTANCE_DIR", "instance")).resolve()
    values: dict[str, Any] = {"db_url": f"sqlite:///{instance / 'payments.db'}"}
    if env == "development":
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        values |= {name.lower(): text for name, text in devenv.secrets(instance).items()}
        values |= {
            "otp_per_address_hour": 10_000,
            "merchant_auto_approve": True,
            "webhook_allow_private_targets": True,
            "web_concurrency": 1,
        }
    if "DATABASE_URL" in given:
        values["db_url"] = given["DATABASE_URL"]
    values |= {name.lower(): given[name] for name in VARIABLES if name in given}
    return values | {"env": env, "instance_dir": instance}


def load_settings(
    environ: Mapping[str, str] = os.environ, *, root: Path = ROOT, serves: bool = True
) -> Settings:
    """The settings of this environment. Raises ConfigError that names all faults.

    root: where `.env`, `.env.example` and a relative `INSTANCE_DIR` are looked for. In development
    it may write `instance/dev.env`, at the first start. serves: False for a command that answers
    nobody: the database's address is enough for it, whatever stands guard over callers is not
    asked for, and a database elsewhere is production's.
    """
    given = _given(environ, root)
    env = _environment(given, serves)
    values = _values(given, env, root)
    faulty: set[str] = set()
    faults: list[str] = []
    try:
        settings = Settings(**values)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            name = str(fault["loc"][0])
            faulty.add(name)
            shown = name.upper()
            if shown == "DB_URL" and shown not in given:
                shown = "DATABASE_URL"
            faults.append(f"{shown}: {fault['msg'].removeprefix('Value error, ')}")
        settings = Settings(**{name: text for name, text in values.items() if name not in faulty})
    found = unsafe.refusals(settings, frozenset(given), root=root) if serves else ()
    faults += [f"{name}: {fault}" for name, fault in found if name.lower() not in faulty]
    if faults:
        raise ConfigError(faults)
    if not settings.is_production and "PUBLIC_URL" not in given:
        return settings.model_copy(update={"public_url": f"http://127.0.0.1:{settings.port}"})
    return settings


_current: ContextVar[Settings] = ContextVar("settings")


def use(settings: Settings) -> Token[Settings]:
    """From here on, in this context, `current()` is these settings. The token undoes it."""
    return _current.set(settings)


def current() -> Settings:
    """The settings in use here. Raises LookupError where no app context and no `use` came before.

    A thread starts without any: hand the settings in, and call `use` first.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError(
            "no settings are in use here: create_app() or use() comes first"
        ) from None
