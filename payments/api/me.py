"""`/v1/me`: the customer's own profile."""

from typing import Any

from flask import Blueprint

from payments import clock
from payments.api import guards
from payments.api.routing import route
from payments.api.schemas.me import Profile, ProfileChange
from payments.customers import profiles
from payments.db import Row
from payments.origin import Customer

bp = Blueprint("me", __name__)


@route(bp, "/v1/me", caller=guards.customer, answer=Profile, summary="Get my profile")
def show(caller: Customer) -> dict[str, Any]:
    """Who is signed in."""
    return _profile(profiles.get(caller.id))


@route(
    bp,
    "/v1/me",
    method="PATCH",
    caller=guards.customer,
    body=ProfileChange,
    answer=Profile,
    once="optional",
    summary="Change my name",
)
def change(caller: Customer, body: ProfileChange) -> dict[str, Any]:
    """Gives the customer this name, or with null none."""
    return _profile(profiles.rename(caller.id, body.name))


def _profile(row: Row) -> dict[str, Any]:
    return {
        "object": "customer",
        "id": row.id,
        "status": "active",
        "version": row.version,
        "phone": row.phone,
        "name": row.name,
        "created_at": clock.to_rfc3339(row.created_at),
    }
