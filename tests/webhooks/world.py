"""A small world for tests of events and webhooks: merchants, endpoints, events, and their rows."""

from datetime import datetime, timedelta
from typing import Any

from payments import db, ids, sealing
from payments.db import Sql
from payments.events import outbox

SECRET = "whsec_dGVzdHMtd2ViaG9vay1zZWNyZXQtMDEyMzQ1Njc4OWE="

_CUSTOMER = Sql(
    "INSERT INTO customers (id, phone, version, created_at) VALUES (:id, :phone, 1, :now)"
)
_MERCHANT = Sql(
    "INSERT INTO merchants (id, owner_id, name, status, hot, negative_limit, version, created_at)"
    " VALUES (:id, :owner, 'Shop', 'approved', false, 0, 1, :now)"
)
_ENDPOINT = Sql(
    "INSERT INTO webhook_endpoints (id, merchant_id, url, events, status, secret_sealed, failures,"
    " version, created_at, succeeded_at)"
    " VALUES (:id, :merchant, :url, :events, :status, :secret, 0, 1, :now, :succeeded)"
)
_DELIVERIES = Sql("SELECT * FROM deliveries ORDER BY created_at, endpoint_id, event_id")
_ATTEMPTS = Sql("SELECT * FROM attempts ORDER BY delivery_id, number")
_ENDPOINTS = Sql("SELECT * FROM webhook_endpoints ORDER BY created_at, id")
_EVENTS = Sql("SELECT * FROM events ORDER BY created_at, id")


def merchant() -> str:
    """A merchant with its owner, approved; its id."""
    owner, made = ids.new("cus"), ids.new("mer")
    with db.unit_of_work():
        _CUSTOMER.run(id=owner, phone=f"+49{int(owner[-12:], 16) % 10**11:011d}")
        _MERCHANT.run(id=made, owner=owner)
    return made


def endpoint(
    merchant_id: str,
    url: str = "http://127.0.0.1:9/hook",
    *,
    events: str = "*",
    status: str = "enabled",
    proven: bool = False,
) -> str:
    """An endpoint as a row; its id. proven: it has answered well just now, so the cap is full."""
    made = ids.new("we")
    with db.unit_of_work() as unit:
        _ENDPOINT.run(
            id=made,
            merchant=merchant_id,
            url=url,
            events=f",{events},",
            status=status,
            secret=sealing.seal(SECRET),
            succeeded=unit.now if proven else None,
        )
    return made


def happen(merchant_id: str | None, count: int = 1, type: str = "payment.succeeded") -> list[str]:
    """Events of a merchant, in one unit; their ids."""
    with db.unit_of_work():
        return [
            outbox.record(
                type,
                merchant_id=merchant_id,
                object_id=(made := ids.new("pay")),
                snapshot={"object": "payment", "id": made, "version": 1},
            )
            for _ in range(count)
        ]


def change(table: str, id: str, **values: Any) -> None:
    """Set columns of a row, as nobody but a test may."""
    sets = ", ".join(f"{name} = :{name}" for name in values)
    with db.unit_of_work():
        assert Sql(f"UPDATE {table} SET {sets} WHERE id = :id").run(id=id, **values) == 1


def shift(seconds: float) -> datetime:
    """The database's time, so many seconds on (or back)."""
    return db.now() + timedelta(seconds=seconds)


def deliveries() -> list[Any]:
    """Every delivery, oldest first."""
    return _DELIVERIES.all()


def delivery() -> Any:
    """The only delivery."""
    (only,) = deliveries()
    return only


def attempts() -> list[Any]:
    """Every attempt, by delivery and number."""
    return _ATTEMPTS.all()


def endpoints() -> list[Any]:
    """Every endpoint."""
    return _ENDPOINTS.all()


def events() -> list[Any]:
    """Every event, oldest first."""
    return _EVENTS.all()
