"""Secrets at rest that must be read again (webhook secrets): sealed with `ENCRYPTION_KEY`.

Fernet (AES-128-CBC and HMAC-SHA256). The first key seals, every key unseals, so that a key can be
rotated with an overlap. What needs no reading again is kept as a hash instead.

A column of sealed texts is named `..._sealed`: by that `operations.resealing` finds what an older
key has sealed.
"""

import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from payments import config
from payments.counters import OLD_SECRET_USES

Unopened = InvalidToken
"""Raised for a text that none of the keys opens."""


@lru_cache(maxsize=8)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(text: str) -> str:
    """The text, encrypted under the first key."""
    return _box(config.current().encryption_key).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text again. Counted where it was not the first key. Raises Unopened when no key fits."""
    keys = config.current().encryption_key
    try:
        return _box(keys[:1]).decrypt(sealed.encode()).decode()
    except Unopened:
        text = _box(keys).decrypt(sealed.encode()).decode()
    OLD_SECRET_USES.labels("ENCRYPTION_KEY").inc()
    return text


def reseal(sealed: str) -> str:
    """The same under the first key; itself where it is that already. Raises Unopened."""
    keys = config.current().encryption_key
    try:
        _box(keys[:1]).decrypt(sealed.encode())
    except Unopened:
        return _box(keys).rotate(sealed.encode()).decode()
    return sealed


def digest(secret: str) -> str:
    """SHA-256, in hex, of a secret of 128 random bits or more: a slow hash adds nothing there."""
    return hashlib.sha256(secret.encode()).hexdigest()
