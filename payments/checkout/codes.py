"""The code of a payment: what a payer scans, or reads off a screen and types.

Whoever holds it may pay, so nobody may guess it: 80 random bits. It is written in Crockford's
base 32, which has no letter that looks like a digit, in four groups of four.
"""

import secrets

from payments.errors import NotFound

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16
GROUP = 4
_READ_AS = str.maketrans("OIL", "011", "- ")


def new() -> str:
    """A fresh code, such as `7Q2M-W9XK-04TB-HZ5C`."""
    return _grouped("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def parse(text: str) -> str:
    """The code that a person meant: case, spaces and dashes aside, O for 0, I and L for 1.

    Raises NotFound for what can't be a code: to its caller that is a code nobody has.
    """
    plain = text.upper().translate(_READ_AS)
    # ASCII alone: other alphabets have letters that turn into ours when put in upper case.
    if not text.isascii() or len(plain) != LENGTH or not set(plain) <= set(ALPHABET):
        raise NotFound
    return _grouped(plain)


def _grouped(plain: str) -> str:
    return "-".join(plain[start : start + GROUP] for start in range(0, LENGTH, GROUP))
