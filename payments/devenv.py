"""The secrets of a development machine, made at the first start and kept in `instance/dev.env`.

Only `config` calls this, and only in development. Demo and scripts come to the same secrets
through `config.load_settings`.
"""

import fcntl
import os
import secrets as random
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv import dotenv_values

FILE = "dev.env"

_MAKERS: dict[str, Callable[[], str]] = {
    "JWT_SECRET": lambda: random.token_urlsafe(48),
    "SECRET_KEY": lambda: random.token_urlsafe(48),
    "INTERNAL_API_SECRET": lambda: random.token_urlsafe(48),
    "ADMIN_TOKEN": lambda: random.token_urlsafe(48),
    "ENCRYPTION_KEY": lambda: Fernet.generate_key().decode(),
}


def read(instance: Path) -> dict[str, str]:
    """What `dev.env` holds of these secrets; nothing when there is no such file."""
    kept = dotenv_values(instance / FILE, interpolate=False)
    return {name: text for name in _MAKERS if (text := kept.get(name))}


def secrets(instance: Path) -> dict[str, str]:
    """All secrets of this machine, by variable; those missing are made and kept.

    Two processes that start at once end with the same secrets: the maker holds a lock, and the
    file changes in one step, so that a reader sees the old or the new one whole.
    """
    kept = read(instance)
    if len(kept) == len(_MAKERS):
        return kept
    with open(instance / f".{FILE}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = read(instance)
        whole = {name: kept.get(name) or make() for name, make in _MAKERS.items()}
        if whole != kept:
            _write(instance / FILE, whole)
    return whole


def _write(path: Path, whole: dict[str, str]) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write("# Made at the first start in development. Not for production.\n")
        file.writelines(f"{name}={text}\n" for name, text in whole.items())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
