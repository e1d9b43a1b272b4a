"""Ids: a prefix that names the kind, and a UUIDv7 (RFC 9562), so that they sort by time of making.

The app makes them, never a sequence of the database: an id is known before its row is written.
"""

import re

import uuid_utils

_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII)


def new(prefix: str) -> str:
    """A fresh id such as `pay_0193…`: the prefix, `_`, and 32 lower-case hex digits."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def is_id(prefix: str, text: str) -> bool:
    """Whether the text has the shape of an id of that kind; says nothing of whether it exists."""
    head, _, tail = text.partition("_")
    return head == prefix and _HEX.fullmatch(tail) is not None
