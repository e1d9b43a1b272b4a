"""Transfers: a customer pays a customer, asked for by the sender or by a sister service."""

from payments import ids
from payments.customers import profiles
from payments.db import Row, Sql
from payments.errors import (
    Fault,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    ReferenceConflict,
)
from payments.events import outbox
from payments.ledger import accounts, posting
from payments.transfers.objects import Place, transfer_object

_FIELDS = (
    "id, sender_id, recipient_id, amount, currency, note, status, service, reference, version,"
    " created_at"
)
_INSERT = Sql(
    f"INSERT INTO transfers ({_FIELDS}) VALUES (:id, :sender_id, :recipient_id, :amount, :currency,"
    " :note, 'succeeded', :service, :reference, 1, :now)"
    f" ON CONFLICT (service, reference) DO NOTHING RETURNING {_FIELDS}"
)
_OF_SERVICE = Sql(
    f"SELECT {_FIELDS} FROM transfers WHERE service = :service AND reference = :reference"
)
_FOR_CUSTOMER = Sql(
    f"SELECT {_FIELDS} FROM transfers"
    " WHERE id = :id AND (sender_id = :customer_id OR recipient_id = :customer_id)"
)
_FOR_SERVICE = Sql(f"SELECT {_FIELDS} FROM transfers WHERE id = :id AND service = :service")


def _customer_page(follows: bool) -> Sql:
    """Two index walks, merged: with one condition joined by OR the database would sort all."""
    further = " AND (created_at, id) < (:before_at, :before_id)" if follows else ""
    order = "ORDER BY created_at DESC, id DESC LIMIT :limit"
    walks = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM transfers WHERE {side} = :customer_id{further} {order})"
        f" AS {side}"
        for side in ("sender_id", "recipient_id")
    )
    return Sql(f"SELECT {_FIELDS} FROM transfers WHERE id IN ({walks}) {order}")


def _service_page(follows: bool) -> Sql:
    further = " AND (created_at, id) < (:before_at, :before_id)" if follows else ""
    return Sql(
        f"SELECT {_FIELDS} FROM transfers WHERE service = :service"
        " AND (CAST(:reference AS text) IS NULL OR reference = :reference)"
        f"{further} ORDER BY created_at DESC, id DESC LIMIT :limit"
    )


_CUSTOMER_PAGES = {follows: _customer_page(follows) for follows in (False, True)}
_SERVICE_PAGES = {follows: _service_page(follows) for follows in (False, True)}


def create(
    sender_id: str, to_phone: str, amount: int, currency: str, note: str | None = None
) -> Row:
    """Send from the customer's own wallet, at once. Status: `succeeded`.

    to_phone: E.164. Raises InvalidRequest for the own phone and for one that nobody here has,
    InsufficientFunds, WalletFrozen.
    """
    recipient = profiles.find_by_phone(to_phone)
    if recipient is None:
        raise InvalidRequest(
            Fault("/to_phone", "is nobody's here yet: they sign in once, then money can reach them")
        )
    row = _move(sender_id, recipient.id, amount, currency, note=note, pointer="/to_phone")
    assert row is not None  # noqa: S101 (without a reference nothing can conflict)
    return row


def by_service(
    service: str, from_phone: str, to_phone: str, amount: int, currency: str, reference: str
) -> tuple[Row, bool]:
    """Move between two customers for a sister service, and whether it was moved now.

    The service's reference is unique: the same facts again give the first one. A phone not yet
    seen gets a wallet. Raises InvalidRequest, ReferenceConflict, InsufficientFunds (never with
    the balance), WalletFrozen.
    """
    standing = _OF_SERVICE.one(service=service, reference=reference)
    if standing is None:
        # Made in one order whatever the direction, so that two units never wait for each other.
        people = {phone: profiles.get_or_create(phone) for phone in sorted({from_phone, to_phone})}
        row = _move(
            people[from_phone].id,
            people[to_phone].id,
            amount,
            currency,
            service=service,
            reference=reference,
            pointer="/to_phone",
        )
        if row is not None:
            return row, True
        # Another request with this reference was first; its unit has ended, so its row is there.
        standing = _OF_SERVICE.one(service=service, reference=reference)
    assert standing is not None  # noqa: S101 (the insert met it)
    parties = [profiles.find_by_phone(phone) for phone in (from_phone, to_phone)]
    same = [party and party.id for party in parties] == [
        standing.sender_id,
        standing.recipient_id,
    ] and (standing.amount, standing.currency) == (amount, currency)
    if not same:
        raise ReferenceConflict(
            "This reference was used before for another transfer. Take one of its own."
        )
    return standing, False


def for_customer(customer_id: str, transfer_id: str) -> Row:
    """A transfer that the customer sent or received. Raises NotFound."""
    return _found(_FOR_CUSTOMER.one(id=transfer_id, customer_id=customer_id))


def for_service(service: str, transfer_id: str) -> Row:
    """A transfer that the service asked for. Raises NotFound."""
    return _found(_FOR_SERVICE.one(id=transfer_id, service=service))


def of_customer(customer_id: str, limit: int, before: Place | None) -> list[Row]:
    """A page of what the customer sent and received, newest first."""
    return _page(_CUSTOMER_PAGES, limit, before, customer_id=customer_id)


def of_service(service: str, reference: str | None, limit: int, before: Place | None) -> list[Row]:
    """A page of what the service asked for, of one reference or all, newest first."""
    return _page(_SERVICE_PAGES, limit, before, service=service, reference=reference)


def _page(pages: dict[bool, Sql], limit: int, before: Place | None, **binds: object) -> list[Row]:
    if before is not None:
        binds |= {"before_at": before[0], "before_id": before[1]}
    return pages[before is not None].all(limit=limit, **binds)


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row


def _move(
    sender_id: str,
    recipient_id: str,
    amount: int,
    currency: str,
    *,
    pointer: str,
    note: str | None = None,
    service: str | None = None,
    reference: str | None = None,
) -> Row | None:
    """The transfer, its event and its entry; None when the service's reference was used before."""
    if sender_id == recipient_id:
        raise InvalidRequest(Fault(pointer, "is the sender: money moves between two customers"))
    row = _INSERT.one(
        id=ids.new("trf"),
        sender_id=sender_id,
        recipient_id=recipient_id,
        amount=amount,
        currency=currency,
        note=note,
        service=service,
        reference=reference,
    )
    if row is None:
        return None
    source = accounts.find(sender_id, profiles.KIND, currency)
    if source is None:
        raise InsufficientFunds(
            currency=currency, needed=amount, available=0 if service is None else None
        )
    target = accounts.open_account(recipient_id, profiles.KIND, currency)
    outbox.record(
        "transfer.succeeded", merchant_id=None, object_id=row.id, snapshot=transfer_object(row)
    )
    posting.post("transfer", row.id, {source.id: -amount, target: amount}, reveal=service is None)
    return row
