"""Transfers: a customer pays a customer, asked for by the sender or by a sister service."""

from functools import lru_cache

from payments import ids
from payments.customers import profiles
from payments.db import Row, Sql
from payments.errors import (
    Fault,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    ReferenceConflict,
    WalletFrozen,
)
from payments.events import outbox
from payments.ledger import accounts, posting
from payments.transfers.objects import Place, transfer_snapshot

_COLUMNS = (
    "id, sender_id, recipient_id, amount, currency, note, status, service, reference, version,"
    " created_at"
)
_READ = (
    f"{_COLUMNS},"
    " (SELECT phone FROM customers WHERE customers.id = transfers.sender_id) AS from_phone,"
    " (SELECT phone FROM customers WHERE customers.id = transfers.recipient_id) AS to_phone"
)
_INSERT = Sql(
    f"INSERT INTO transfers ({_COLUMNS}) VALUES (:id, :sender_id, :recipient_id, :amount,"
    " :currency, :note, 'succeeded', :service, :reference, 1, :now)"
    f" ON CONFLICT (service, reference) DO NOTHING RETURNING {_READ}"
)
_STANDING = Sql(
    f"SELECT {_READ} FROM transfers WHERE service = :service AND reference = :reference"
)
_FOR_CUSTOMER = Sql(
    f"SELECT {_READ} FROM transfers"
    " WHERE id = :id AND (sender_id = :customer_id OR recipient_id = :customer_id)"
)
_FOR_SERVICE = Sql(f"SELECT {_READ} FROM transfers WHERE id = :id AND service = :service")


def create(
    sender_id: str, to_phone: str, amount: int, currency: str, note: str | None = None
) -> Row:
    """Send from the customer's own wallet, at once. Status: `succeeded`.

    to_phone: E.164. amount: minor units. The wallet is looked at before the phone, so that asking
    who is a customer here costs money each time the answer is yes. Raises InsufficientFunds (also
    without a wallet in the currency), WalletFrozen, InvalidRequest for the own phone and for one
    that nobody here has.
    """
    wallet = profiles.wallet_of(sender_id, currency)
    if wallet is not None and wallet.frozen_at is not None:
        raise WalletFrozen("The wallet is frozen: money can reach it, none can leave it.")
    if wallet is None or wallet.available < amount:
        has = 0 if wallet is None else wallet.available
        raise InsufficientFunds(currency=currency, needed=amount, available=has)
    recipient = profiles.find_by_phone(to_phone)
    if recipient is None:
        raise InvalidRequest(
            Fault("/to_phone", "is nobody's here yet: they sign in once, then money can reach them")
        )
    row = _insert(sender_id, recipient.id, amount, currency, note=note)
    assert row is not None  # noqa: S101 (without a service nothing can conflict)
    _move(row, wallet.id, reveal=True)
    return row


def by_service(
    service: str, from_phone: str, to_phone: str, amount: int, currency: str, reference: str | None
) -> tuple[Row, bool]:
    """Move between two customers for a sister service, and whether it was moved now.

    Phones in E.164; one not yet seen gets a customer and a wallet. amount: minor units. reference:
    names the intent, unique among the service's transfers: the same facts again give the first
    one. Raises InvalidRequest for one phone twice, ReferenceConflict for other facts,
    InsufficientFunds (never with the balance), WalletFrozen.
    """
    if from_phone == to_phone:
        raise _one_customer()
    standing = _STANDING.one(service=service, reference=reference)
    if standing is None:
        # Made in one order whatever the direction, so that two units never wait for each other.
        people = {
            phone: profiles.get_or_create(phone).id for phone in sorted((from_phone, to_phone))
        }
        sender, recipient = people[from_phone], people[to_phone]
        row = _insert(sender, recipient, amount, currency, service=service, reference=reference)
        if row is not None:
            wallet = profiles.wallet_of(sender, currency)
            if wallet is None:
                raise InsufficientFunds(currency=currency, needed=amount)
            _move(row, wallet.id, reveal=False)
            return row, True
        # Another request with this reference was first; its unit has ended, so its row is there.
        standing = _STANDING.one(service=service, reference=reference)
    assert standing is not None  # noqa: S101 (the insert met it)
    facts = (standing.from_phone, standing.to_phone, standing.amount, standing.currency)
    if facts != (from_phone, to_phone, amount, currency):
        raise ReferenceConflict(
            "This reference was used before, for another transfer. Nothing was moved."
        )
    return standing, False


def for_customer(customer_id: str, transfer_id: str) -> Row:
    """A transfer that the customer sent or received. Raises NotFound."""
    return _found(_FOR_CUSTOMER.one(id=transfer_id, customer_id=customer_id))


def for_service(service: str, transfer_id: str) -> Row:
    """A transfer that the service asked for. Raises NotFound."""
    return _found(_FOR_SERVICE.one(id=transfer_id, service=service))


def of_customer(
    customer_id: str, reference: str | None, limit: int, before: Place | None
) -> list[Row]:
    """A page of what the customer sent and received, of one reference or all, newest first."""
    given = {} if reference is None else {"reference": reference}
    statement = _customer_page(reference is not None, before is not None)
    return statement.all(customer_id=customer_id, limit=limit, **given, **_place(before))


def of_service(service: str, reference: str | None, limit: int, before: Place | None) -> list[Row]:
    """A page of what the service asked for, of one reference or all, newest first."""
    given = {} if reference is None else {"reference": reference}
    statement = _service_page(reference is not None, before is not None)
    return statement.all(service=service, limit=limit, **given, **_place(before))


_PAGE = "ORDER BY created_at DESC, id DESC LIMIT :limit"
_BEFORE = " AND (created_at, id) < (:before_at, :before_id)"


def _further(by_reference: bool, follows: bool) -> str:
    return (" AND reference = :reference" if by_reference else "") + (_BEFORE if follows else "")


@lru_cache(maxsize=4)
def _customer_page(by_reference: bool, follows: bool) -> Sql:
    """Two index walks, merged: with one condition joined by OR the database would sort all."""
    further = _further(by_reference, follows)
    walks = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM transfers WHERE {side} = :customer_id{further} {_PAGE})"
        f" AS {side}"
        for side in ("sender_id", "recipient_id")
    )
    return Sql(f"SELECT {_READ} FROM transfers WHERE id IN ({walks}) {_PAGE}")


@lru_cache(maxsize=4)
def _service_page(by_reference: bool, follows: bool) -> Sql:
    further = _further(by_reference, follows)
    return Sql(f"SELECT {_READ} FROM transfers WHERE service = :service{further} {_PAGE}")


def _place(before: Place | None) -> dict[str, object]:
    return {} if before is None else {"before_at": before[0], "before_id": before[1]}


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row


def _one_customer() -> InvalidRequest:
    return InvalidRequest(Fault("/to_phone", "is the sender's: money moves between two customers"))


def _insert(
    sender_id: str,
    recipient_id: str,
    amount: int,
    currency: str,
    *,
    note: str | None = None,
    service: str | None = None,
    reference: str | None = None,
) -> Row | None:
    """The transfer's row; None when the service's reference was used before."""
    if sender_id == recipient_id:
        raise _one_customer()
    return _INSERT.one(
        id=ids.new("trf"),
        sender_id=sender_id,
        recipient_id=recipient_id,
        amount=amount,
        currency=currency,
        note=note,
        service=service,
        reference=reference,
    )


def _move(row: Row, from_account: str, *, reveal: bool) -> None:
    """The money, last: accounts are locked only until the commit, which takes the event along."""
    to_account = accounts.open_account(row.recipient_id, profiles.KIND, row.currency)
    lines = {from_account: -row.amount, to_account: row.amount}
    posting.post("transfer", row.id, lines, reveal=reveal)
    outbox.record(
        "transfer.succeeded", merchant_id=None, object_id=row.id, snapshot=transfer_snapshot(row)
    )
