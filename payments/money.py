"""Money: an integer number of minor units beside an ISO 4217 code. No float comes near it."""

from dataclasses import dataclass

MAX_AMOUNT = 10**15
"""The largest amount of one movement, in minor units."""

MAX_BALANCE = 10**18
"""How far a balance may be from 0, in minor units: a movement that would lead further is refused.

So sums stay inside 64 bits on Postgres, and whole numbers on SQLite.
"""

# ISO 4217 list one: code and the number of decimal digits of its minor unit. Codes that are no
# money in circulation (metals, bonds, testing, XXX) are left out on purpose.
_DIGITS: dict[str, int] = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
    ),
    **dict.fromkeys(
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN "
        "BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS "
        "GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR "
        "LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD "
        "PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN "
        "SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW "
        "ZWG".split(),
        2,
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one currency. Two currencies never add up."""

    amount: int
    currency: str


def is_currency(code: str) -> bool:
    """Whether the code is an ISO 4217 currency in circulation, in upper case."""
    return code in _DIGITS


def minor_digits(currency: str) -> int:
    """Decimal digits of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD. Raises KeyError."""
    return _DIGITS[currency]


def round_half_even(numerator: int, denominator: int) -> int:
    """The quotient of two non-negative integers, rounded half to even, in exact arithmetic."""
    whole, rest = divmod(numerator, denominator)
    twice = rest * 2
    return whole + (twice > denominator or (twice == denominator and whole % 2 == 1))
