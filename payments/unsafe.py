"""What may not run: values that are well-formed and unsafe, each refused by its variable's name.

Only `config` calls this. A secret is weak when it can be guessed by its looks: under 32 characters,
under 8 different ones, a piece repeated, characters in a row, or words where chance should be.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dotenv import dotenv_values
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from payments import devenv

if TYPE_CHECKING:
    from payments.config import Settings

MIN_LENGTH = 32
MIN_DIFFERENT = 8

MIN_BESIDE_WORDS = 24

MAX_CODES_OF_A_PHONE = 20
"""One-time codes an hour in production: nobody needs more, and guessing gains by each."""

# What people write where a secret should stand, and what holds such words together.
_WORDS = re.compile(
    r"change|replace|your|this|secret|password|example|default|insecure|token|please|placeholder"
    r"|production|development|random|character|string|admin|internal|metrics|payment|jwt|key"
    r"|[-_. ]"
)

_ADVICE = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
_FERNET_ADVICE = (
    "make one with: python3 -c "
    '"import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
)


def secret_lists(settings: "Settings") -> dict[str, tuple[str, ...]]:
    """Every secret of the settings, by variable, without names."""
    return {
        "JWT_SECRET": settings.jwt_secret,
        "SECRET_KEY": settings.secret_key,
        "INTERNAL_API_SECRET": tuple(entry.secret for entry in settings.internal_api_secret),
        "ADMIN_TOKEN": tuple(entry.secret for entry in settings.admin_token),
        "METRICS_TOKEN": settings.metrics_token,
        "ENCRYPTION_KEY": settings.encryption_key,
    }


def weakness(secret: str) -> str | None:
    """Why the secret is weak, or None. Never repeats any part of it."""
    if len(secret) < MIN_LENGTH:
        return f"has under {MIN_LENGTH} characters"
    if len(set(secret)) < MIN_DIFFERENT:
        return f"has under {MIN_DIFFERENT} different characters"
    if secret in (secret + secret)[1:-1]:
        return "is one piece repeated"
    steps = [abs(ord(after) - ord(before)) <= 1 for before, after in pairwise(secret)]
    if sum(steps) * 3 > len(steps) * 2:
        return "is characters in a row"
    if len(_WORDS.sub("", secret.lower())) < MIN_BESIDE_WORDS:
        return "is made of words"
    return None


def refusals(
    settings: "Settings", given: frozenset[str], *, root: Path
) -> Iterator[tuple[str, str]]:
    """Each unsafe setting as (variable, what is wrong). given: the variables that were set.

    root: where `.env.example` lies, whose values are known to the world.
    """
    if settings.sms_backend == "http" and settings.sms_http_url is None:
        yield "SMS_HTTP_URL", "is missing: SMS_BACKEND=http needs to know where to send"
    if settings.is_production:
        yield from _unsafe_secrets(settings, root)
        yield from _unsafe_surroundings(settings, given)


def may_be_elsewhere(url: str, given: Mapping[str, str]) -> bool:
    """Whether this Postgres URL may lead to another machine, by all that libpq listens to.

    Not by a socket, nor by a loopback address. given: the environment, whose `PG...` variables say
    what the URL leaves out. Without `ENV` such a database is nobody's development by default.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False  # refused for itself, and so is one that names no database
    if not parsed.database:
        return False
    query = parsed.normalized_query
    if "service" in query or "PGSERVICE" in given:
        return True  # it stands in a file, which is libpq's to read
    places = [*query.get("hostaddr", ()), *query.get("host", ()), parsed.host or ""]
    if not any(places):
        places = [given.get("PGHOSTADDR", ""), given.get("PGHOST", "")]
    hosts = [host for place in places for host in place.split(",") if host]
    return not all(_is_here(host) for host in hosts)


def _is_here(host: str) -> bool:
    if host.startswith(("/", "@")) or host.lower() == "localhost":
        return True  # the folder of a socket, or an abstract one
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _unsafe_secrets(settings: "Settings", root: Path) -> Iterator[tuple[str, str]]:
    published = {text for text in dotenv_values(root / ".env.example").values() if text}
    made_here = set(devenv.read(settings.instance_dir).values())
    owner: dict[str, str] = {}
    for name, secrets in secret_lists(settings).items():
        if not secrets:
            advice = _FERNET_ADVICE if name == "ENCRYPTION_KEY" else _ADVICE
            yield name, f"is missing; {advice}"
        for place, secret in enumerate(secrets, start=1):
            which = f"entry {place} " if len(secrets) > 1 else ""
            if secret in published:
                yield name, f"{which}is the value of .env.example, which anybody can read"
            elif secret in made_here:
                yield name, f"{which}is a development secret from {devenv.FILE}"
            elif why := weakness(secret):
                yield name, f"{which}is weak: it {why}; {_ADVICE}"
            if owner.setdefault(secret, name) != name:
                yield name, f"{which}is the same secret as in {owner[secret]}"


def _is_private_way(url: str) -> bool:
    """Whether what is sent there can't be read on the way: by TLS, or within this machine."""
    parts = urlsplit(url)
    return not url or parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1", "localhost"}


def _unsafe_surroundings(settings: "Settings", given: frozenset[str]) -> Iterator[tuple[str, str]]:
    if settings.otp_per_phone_hour > MAX_CODES_OF_A_PHONE:
        yield (
            "OTP_PER_PHONE_HOUR",
            f"is over {MAX_CODES_OF_A_PHONE}: each code is five guesses, and a message to pay for",
        )
    if settings.on_sqlite:
        yield "DB_URL", "is missing or SQLite: production needs Postgres 15 or newer"
    if settings.redis_url is None:
        yield "REDIS_URL", "is missing: without Redis each process counts rate limits for itself"
    if settings.sms_backend == "console":
        yield "SMS_BACKEND", "is console, which writes one-time codes to the log: use http"
    elif not _is_private_way(settings.sms_http_url or ""):
        yield "SMS_HTTP_URL", "is not https://: phones and codes would travel in clear"
    if "TRUSTED_PROXIES" not in given:
        yield (
            "TRUSTED_PROXIES",
            "is missing: set how many proxies stand in front (usually 1; 0 when there is none)",
        )
    if settings.webhook_allow_private_targets:
        yield "WEBHOOK_ALLOW_PRIVATE_TARGETS", "is on: webhooks could reach the private network"
    if "PUBLIC_URL" not in given:
        yield "PUBLIC_URL", "is missing: set the https:// address that callers use"
    elif not settings.public_url.startswith("https://"):
        yield "PUBLIC_URL", "is not https://"
