"""What a person typed or pasted: an id of ours, a request id, a payment's code, or a phone."""

import re
from dataclasses import dataclass
from typing import Literal

from payments import ids
from payments.customers import phones
from payments.errors import InvalidRequest
from payments.tracing import rows

MAX_TEXT = 255
FEWEST_DIGITS = 6
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_DIALLED = re.compile(r"\+?[\d\s().\-/]+", re.ASCII)

Kind = Literal["object", "request", "phone", "number", "nothing"]


@dataclass(frozen=True, slots=True)
class Sought:
    """What it may be. text: the id, or the phone in E.164; empty for nothing that can be sought.

    `number`: digits which are no phone as they stand, and may be one all the same: without its
    country code, or mistyped. Like a phone it belongs in no URL and in no lasting record.
    """

    kind: Kind
    text: str


def read(text: str) -> Sought:
    """What the text stands for; nothing is looked up yet.

    A number without a plus is a phone where it can be one.
    """
    plain = text.strip().strip("\"'`,;<>")[:MAX_TEXT]
    prefix = plain.partition("_")[0]
    if prefix in rows.OBJECTS and ids.is_id(prefix, plain):
        return Sought("object", plain)
    if _DIALLED.fullmatch(plain):
        try:
            return Sought("phone", phones.parse(plain))
        except InvalidRequest:
            is_one = sum(letter.isdigit() for letter in plain) >= FEWEST_DIGITS
            return Sought("number", plain) if is_one else Sought("nothing", "")
    if _REQUEST_ID.fullmatch(plain):
        return Sought("request", plain)
    return Sought("nothing", "")
