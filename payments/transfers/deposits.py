"""Deposits: money that arrived outside, told by a sister service; out of its external account.

The service's reference names the fact. Of two requests with one reference the second waits at the
unique index for the first, then finds its row: the same facts are answered with it, others refused.
"""

from functools import lru_cache

from payments import ids
from payments.customers import profiles
from payments.db import Row, Sql
from payments.errors import NotFound, ReferenceConflict
from payments.ledger import accounts, posting
from payments.transfers.objects import Place

_COLUMNS = (
    "id, service, external_reference, customer_id, account_id, amount, currency, status, version,"
    " created_at"
)
_READ = (
    f"{_COLUMNS}, (SELECT phone FROM customers WHERE customers.id = deposits.customer_id) AS phone"
)
_INSERT = Sql(
    f"INSERT INTO deposits ({_COLUMNS}) VALUES (:id, :service, :external_reference, :customer_id,"
    " :account_id, :amount, :currency, 'succeeded', 1, :now)"
    f" ON CONFLICT (service, external_reference) DO NOTHING RETURNING {_READ}"
)
_STANDING = Sql(
    f"SELECT {_READ} FROM deposits"
    " WHERE service = :service AND external_reference = :external_reference"
)
_GET = Sql(f"SELECT {_READ} FROM deposits WHERE id = :id AND service = :service")


def create(
    service: str, phone: str, amount: int, currency: str, external_reference: str
) -> tuple[Row, bool]:
    """Put what arrived into the customer's wallet, and whether it was put there now.

    phone: E.164; one not yet seen gets a customer and a wallet. amount: minor units. A frozen
    wallet receives, too. The same facts again give the first deposit. Raises ReferenceConflict
    when the reference came before with another phone, amount or currency.
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
    if (standing.phone, standing.amount, standing.currency) != (phone, amount, currency):
        raise ReferenceConflict(
            "This external_reference was used before, for another deposit. Nothing was moved."
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
    binds: dict[str, object] = {"service": service, "limit": limit}
    if external_reference is not None:
        binds["external_reference"] = external_reference
    if before is not None:
        binds |= {"before_at": before[0], "before_id": before[1]}
    return _page(external_reference is not None, before is not None).all(**binds)


@lru_cache(maxsize=4)
def _page(by_reference: bool, follows: bool) -> Sql:
    conditions = ["service = :service"]
    if by_reference:
        conditions.append("external_reference = :external_reference")
    if follows:
        conditions.append("(created_at, id) < (:before_at, :before_id)")
    return Sql(
        f"SELECT {_READ} FROM deposits WHERE {' AND '.join(conditions)}"
        " ORDER BY created_at DESC, id DESC LIMIT :limit"
    )
