"""Phone numbers: whatever a person types, as E.164, which names one customer."""

import re

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneNumberFormat,
    PhoneNumberType,
    ValidationResult,
)

from payments import config
from payments.errors import Fault, InvalidRequest

# Digits of any script, and what people put between them. No letters: no `1-800-FLOWERS`, no
# extension, no `tel:`, so that nothing of what was typed is silently dropped.
_DIALLED = re.compile(r"[+\uff0b]?[\d\s().\-/\u2010-\u2015]+")

# The plans of some countries take `12` for possible. No phone in the world has under 8 digits,
# country code included (Saint Helena's), nor over 15.
_E164 = re.compile(r"\+[1-9][0-9]{7,14}", re.ASCII)

# Numbers that earn whoever holds them money, or that no text message reaches. A landline may have
# its messages read out, and a range that the metadata does not know yet may well be a mobile's.
_NO_SMS = {
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PERSONAL_NUMBER,
    PhoneNumberType.PAGER,
    PhoneNumberType.UAN,
    PhoneNumberType.VOICEMAIL,
    PhoneNumberType.VOIP,
}


def parse_for_sms(text: str, pointer: str = "/phone") -> str:
    """As `parse`, for a number that a code is to be sent to.

    Raises InvalidRequest as well for a premium-rate, shared-cost, toll-free, personal,
    company-wide, pager, voicemail or VoIP number.
    """
    found = parse(text, pointer)
    if phonenumbers.number_type(phonenumbers.parse(found)) in _NO_SMS:
        raise InvalidRequest(
            Fault(pointer, "must be a phone that takes text messages, such as a mobile one")
        )
    return found


def parse_query(text: str, pointer: str = "/phone") -> str:
    """As `parse`, for a number in a query string, where a bare `+` is read as a space.

    Without its plus the number could be read as a national one, somebody else's. Raises
    InvalidRequest, which says how to write a plus there.
    """
    if re.match(r" \d", text):
        raise InvalidRequest(
            Fault(pointer, "must be a phone number in E.164; in a query its + is written %2B")
        )
    return parse(text, pointer)


def parse(text: str, pointer: str = "/phone") -> str:
    """The number in E.164, such as `+4915112345678`.

    A number without a country code is read as dialled in `DEFAULT_REGION`, where that is set. It
    must be possible by its country and length; whether it is in use, the code sent to it will
    show, while lists of numbers in use are always behind. pointer: where the text stands in the
    body. Raises InvalidRequest. Source: ITU-T E.164, by libphonenumber's metadata.
    """
    region = config.current().default_region
    if _DIALLED.fullmatch(text):
        try:
            number = phonenumbers.parse(text, region or None)
        except NumberParseException:
            number = None
        if number is not None and (
            phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
        ):
            found = phonenumbers.format_number(number, PhoneNumberFormat.E164)
            if _E164.fullmatch(found):
                return found
    national = f", or a number as dialled in {region}" if region else ""
    raise InvalidRequest(
        Fault(pointer, f"must be a phone number in E.164, such as +4915112345678{national}")
    )
