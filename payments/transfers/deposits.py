"""Deposits: money that arrived outside, told by a sister service; out of its external account."""

from payments import ids
from payments.customers import profiles
from payments.db import Row, Sql
from payments.errors import NotFound, ReferenceConflict
from payments.ledger import accounts, posting
from payments.transfers.objects import Place

_FIELDS = (
    "id, service, external_reference, customer_id, account_id, amount, currency, status, version,"
    " created_at"
)
_INSERT = Sql(
    f"INSERT INTO deposits ({_FIELDS}) VALUES (:id, :service, :external_reference, :customer_id,"
    " :account_id, :amount, :currency, 'succeeded', 1, :now)"
    f" ON CONFLICT (service, external_reference) DO NOTHING RETURNING {_FIELDS}"
)
_STANDING = Sql(
    f"SELECT {_FIELDS} FROM deposits"
    " WHERE service = :service AND external_reference = :external_reference"
)
_GET = Sql(f"SELECT {_FIELDS} FROM deposits WHERE id = :id AND service = :service")


def _page(follows: bool) -> Sql:
    further = " AND (created_at, id) < (:before_at, :before_id)" if follows else ""
    return Sql(
        f"SELECT {_FIELDS} FROM deposits WHERE service = :service"
        " AND (CAST(:external_reference AS text) IS NULL"
        " OR external_reference = :external_reference)"
        f"{further} ORDER BY created_at DESC, id DESC LIMIT :limit"
    )


_PAGES = {follows: _page(follows) for follows in (False, True)}


def create(
    service: str, phone: str, amount: int, currency: str, external_reference: str
) -> tuple[Row, bool]:
    """Put what arrived into the customer's wallet, and whether it was put there now.

    phone: E.164; one not yet seen gets a customer and a wallet. The service's external reference
    is unique: the same facts again give the first one. Raises ReferenceConflict for other facts.
    """
    standing = _STANDING.one(service=service, external_reference=external_reference)
    if standing is None:
        customer = profiles.get_or_create(phone)
        wallet = accounts.open_account(customer.id, profiles.KIND, currency)
        row = _INSERT.one(
            id=ids.new("dep"),
            service=service,
            external_reference=external_reference,
            customer_id=customer.id,
            account_id=wallet,
            amount=amount,
            currency=currency,
        )
        if row is not None:
            outside = accounts.ensure_system(f"external:{service}", currency)
            posting.post("deposit", row.id, {outside: -amount, wallet: amount})
            return row, True
        # Another request with this reference was first; its unit has ended, so its row is there.
        standing = _STANDING.one(service=service, external_reference=external_reference)
    assert standing is not None  # noqa: S101 (the insert met it)
    known = profiles.find_by_phone(phone)
    facts = (standing.customer_id, standing.amount, standing.currency)
    if facts != (known and known.id, amount, currency):
        raise ReferenceConflict(
            "This external_reference was used before for another deposit. Nothing was moved."
        )
    return standing, False


def get(service: str, deposit_id: str) -> Row:
    """A deposit that the service told of. Raises NotFound."""
    row = _GET.one(id=deposit_id, service=service)
    if row is None:
        raise NotFound
    return row


def of_service(
    service: str, external_reference: str | None, limit: int, before: Place | None
) -> list[Row]:
    """A page of what the service told of, of one reference or all, newest first."""
    binds: dict[str, object] = {"service": service, "external_reference": external_reference}
    if before is not None:
        binds |= {"before_at": before[0], "before_id": before[1]}
    return _PAGES[before is not None].all(limit=limit, **binds)
