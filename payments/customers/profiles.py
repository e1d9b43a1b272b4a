"""Customers: one for each phone number, with a name if they give one."""

from payments import config, ids
from payments.db import Row, Sql
from payments.errors import NotFound
from payments.ledger import accounts

KIND = "customer"
"""The kind of a customer's accounts, their wallets."""

_GET = Sql(
    "SELECT id, phone, name, signed_in_at, version, created_at FROM customers WHERE id = :id"
)
_BY_PHONE = Sql(
    "SELECT id, phone, name, signed_in_at, version, created_at FROM customers WHERE phone = :phone"
)
_CREATE = Sql(
    "INSERT INTO customers (id, phone, name, signed_in_at, version, created_at)"
    " VALUES (:id, :phone, NULL, NULL, 1, :now) ON CONFLICT (phone) DO NOTHING"
)
_SIGNED_IN = Sql(
    "UPDATE customers SET signed_in_at = :now, version = version + 1"
    " WHERE id = :id AND signed_in_at IS NULL"
)
_RENAME = Sql("UPDATE customers SET name = :name, version = version + 1 WHERE id = :id")


def get(customer_id: str) -> Row:
    """The customer: id, phone (E.164), name, signed_in_at, version, created_at. Raises NotFound."""
    row = _GET.one(id=customer_id)
    if row is None:
        raise NotFound
    return row


def find_by_phone(phone: str) -> Row | None:
    """The customer with this phone (E.164), as `get` gives them, or None."""
    return _BY_PHONE.one(phone=phone)


def get_or_create(phone: str) -> Row:
    """The customer with this phone (E.164), made where there was none, with the first wallet.

    Two units that make the same one at once end with the same one: the second waits at the unique
    phone for the first.
    """
    row = find_by_phone(phone)
    if row is None:
        _CREATE.run(id=ids.new("cus"), phone=phone)
        row = find_by_phone(phone)
        assert row is not None  # noqa: S101 (made by this unit or by the one it waited for)
    accounts.open_account(row.id, KIND, config.current().default_currency)
    return row


def note_sign_in(customer_id: str) -> bool:
    """Note a proven phone. True the first time."""
    return _SIGNED_IN.run(id=customer_id) == 1


def rename(customer_id: str, name: str | None) -> Row:
    """Give the customer this name, or none. Raises NotFound."""
    _RENAME.run(id=customer_id, name=name)
    return get(customer_id)


def wallet_of(customer_id: str, currency: str) -> Row | None:
    """The customer's wallet in this currency, as `ledger.accounts.get` gives it, or None."""
    return accounts.find(customer_id, KIND, currency)
