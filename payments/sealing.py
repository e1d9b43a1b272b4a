"""Secrets at rest that must be read again (webhook secrets): sealed with `ENCRYPTION_KEY`.

Fernet (AES-128-CBC and HMAC-SHA256). The first key seals, every key unseals, so that a key can be
rotated with an overlap. What needs no reading again is kept as a hash instead.
"""

import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet

from payments import config


@lru_cache(maxsize=8)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(text: str) -> str:
    """The text, encrypted under the first key."""
    return _box(config.current().encryption_key).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text again. Raises cryptography.fernet.InvalidToken when no key fits."""
    return _box(config.current().encryption_key).decrypt(sealed.encode()).decode()


def digest(secret: str) -> str:
    """SHA-256, in hex, of a secret of 128 random bits or more: a slow hash adds nothing there."""
    return hashlib.sha256(secret.encode()).hexdigest()
