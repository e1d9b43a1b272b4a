"""The rows of a settlement: one for each merchant and currency that had money move by its end.

    opening + net - payouts + adjustments = closing,  net = gross - fees - refunds

gross: what customers paid. refunds: what they got back. fees: what the service kept of it, less
what it returned. payouts: what left to the bank. adjustments: every other movement, by sign. All
are sums of postings, so their totals are the ledger's.
"""

from collections.abc import Iterator
from typing import Any

from payments.db import Row, Sql
from payments.settlement.periods import Period

AMOUNTS = (
    "opening",
    "gross",
    "fees",
    "refunds",
    "net",
    "payouts",
    "adjustments",
    "closing",
)
"""Minor units of the row's currency."""
COLUMNS = ("from", "to", "merchant", "currency", *AMOUNTS)

# An entry has one line on the fees of its currency, where it has any (ledger invariants).
_ROWS = """
WITH fees AS (
  SELECT id, currency FROM accounts WHERE owner_id = 'system' AND kind = 'fees'
),
shops AS (
  SELECT accounts.id, accounts.owner_id, accounts.currency, accounts.created_at, fees.id AS fees_id
  FROM accounts LEFT JOIN fees ON fees.currency = accounts.currency
  WHERE accounts.kind = 'merchant' {only}
),
earlier AS (
  SELECT shops.id, sum(postings.amount) AS opening
  FROM shops JOIN postings ON postings.account_id = shops.id
  WHERE postings.created_at < :start GROUP BY shops.id
),
lines AS (
  SELECT shops.id, entries.kind, postings.amount AS moved, coalesce(kept.amount, 0) AS fee
  FROM shops JOIN postings ON postings.account_id = shops.id
  JOIN entries ON entries.id = postings.entry_id
  LEFT JOIN postings AS kept
    ON kept.entry_id = postings.entry_id AND kept.account_id = shops.fees_id
  WHERE postings.created_at >= :start AND postings.created_at < :end
),
within AS (
  SELECT id, sum(moved) AS change,
    sum(CASE WHEN kind = 'payment' THEN moved + fee ELSE 0 END) AS gross,
    sum(CASE WHEN kind = 'refund' THEN -moved - fee ELSE 0 END) AS refunds,
    sum(CASE WHEN kind IN ('payment', 'refund') THEN fee ELSE 0 END) AS fees,
    sum(CASE WHEN kind IN ('payment', 'refund') THEN moved ELSE 0 END) AS net,
    sum(CASE WHEN kind = 'payout' THEN -moved ELSE 0 END) AS payouts,
    sum(CASE WHEN kind IN ('payment', 'refund', 'payout') THEN 0 ELSE moved END) AS adjustments
  FROM lines GROUP BY id
)
SELECT shops.id, shops.created_at, shops.owner_id AS merchant, shops.currency,
  CAST(coalesce(earlier.opening, 0) AS bigint) AS opening,
  CAST(coalesce(within.gross, 0) AS bigint) AS gross,
  CAST(coalesce(within.fees, 0) AS bigint) AS fees,
  CAST(coalesce(within.refunds, 0) AS bigint) AS refunds,
  CAST(coalesce(within.net, 0) AS bigint) AS net,
  CAST(coalesce(within.payouts, 0) AS bigint) AS payouts,
  CAST(coalesce(within.adjustments, 0) AS bigint) AS adjustments,
  CAST(coalesce(earlier.opening, 0) + coalesce(within.change, 0) AS bigint) AS closing
FROM shops LEFT JOIN earlier ON earlier.id = shops.id LEFT JOIN within ON within.id = shops.id
WHERE earlier.id IS NOT NULL OR within.id IS NOT NULL
"""
_OF_ONE = _ROWS.format(only="AND accounts.owner_id = :merchant_id")
_OF_ALL = _ROWS.format(only="")
_IN_ORDER = " ORDER BY merchant, currency"
_NEWEST_FIRST = Sql(_OF_ONE + " ORDER BY shops.created_at DESC, shops.id DESC")
# Put together by the database: of a million rows, Python's time for each cell is most of the time.
_AS_LINES = " || ',' || ".join(
    ("merchant", "currency", *(f"CAST({amount} AS text)" for amount in AMOUNTS))
)


def _statements(text: str) -> tuple[Sql, Sql]:
    return (
        Sql(text + _IN_ORDER),
        Sql(f"SELECT {_AS_LINES} AS line FROM ({text}) AS report{_IN_ORDER}"),
    )


_EVERY, _LINES = _statements(_OF_ALL)
_ONE, _LINES_OF_ONE = _statements(_OF_ONE)
# A cursor's plan is made for its first rows unless it is told that all are wanted.
_WANT_ALL = Sql("SELECT set_config('cursor_tuple_fraction', '1.0', true)", sqlite="SELECT 1")
_IS_MERCHANT = Sql("SELECT 1 FROM merchants WHERE id = :id")


def is_merchant(merchant_id: str) -> bool:
    """Whether there is such a merchant."""
    return _IS_MERCHANT.one(id=merchant_id) is not None


def of_merchant(period: Period, merchant_id: str) -> list[Row]:
    """The merchant's rows, one a currency, the newest account first: `merchant`, `currency`,
    `AMOUNTS`, and the account's `id` and `created_at`.
    """
    return _NEWEST_FIRST.all(**_binds(period, merchant_id))


def stream(period: Period, merchant_id: str | None = None) -> Iterator[Row]:
    """The rows of one merchant or of all, as `of_merchant` has them, by merchant and currency.

    Inside `db.snapshot()`.
    """
    _WANT_ALL.one()
    statement = _EVERY if merchant_id is None else _ONE
    return statement.stream(**_binds(period, merchant_id))


def stream_lines(period: Period, merchant_id: str | None = None) -> Iterator[str]:
    """The same as lines of CSV by `COLUMNS`, without their ends. Inside `db.snapshot()`."""
    _WANT_ALL.one()
    head = ",".join(period.named().values())
    statement = _LINES if merchant_id is None else _LINES_OF_ONE
    return (f"{head},{row[0]}" for row in statement.stream(**_binds(period, merchant_id)))


def settlement_object(row: Row, period: Period, provisional: bool) -> dict[str, Any]:
    """A row as the API and the script show it: `COLUMNS`, and whether it may still change."""
    amounts = {name: getattr(row, name) for name in AMOUNTS}
    return {
        "object": "settlement",
        **period.named(),
        "merchant": row.merchant,
        "currency": row.currency,
        **amounts,
        "provisional": provisional,
    }


def _binds(period: Period, merchant_id: str | None) -> dict[str, Any]:
    binds: dict[str, Any] = {"start": period.start, "end": period.end}
    return binds if merchant_id is None else binds | {"merchant_id": merchant_id}
