"""`/v1/api_keys`: by the merchant's owner, or by a key with the scope `api_keys`."""

from typing import Any

from flask import Blueprint

from payments import db
from payments.api import guards, paging
from payments.api.merchants import which
from payments.api.routing import route
from payments.api.schemas.api_keys import (
    KeyObject,
    Keys,
    KeysQuery,
    NewKey,
    NewKeyObject,
    Revocation,
)
from payments.errors import Fault, InvalidRequest, LimitExceeded, NotFound, ScopeMissing
from payments.merchants import api_keys, applications
from payments.merchants.api_keys import key_object
from payments.origin import Customer, Merchant

bp = Blueprint("api_keys", __name__)


@route(
    bp,
    "/v1/api_keys",
    method="POST",
    caller=guards.customer_or_merchant("api_keys"),
    body=NewKey,
    answer=NewKeyObject,
    status=201,
    once="optional",
    errors=(NotFound, ScopeMissing, LimitExceeded),
    secret_fields=("secret",),
    summary="Make an API key",
)
def create(caller: Customer | Merchant, body: NewKey) -> dict[str, Any]:
    """`secret` is shown this once. A key grants no more than its own scopes and time; `made_by`
    says which key made one. A merchant has at most 100 that work.
    """
    if isinstance(caller, Merchant):
        if body.merchant is not None:
            raise InvalidRequest(Fault("/merchant", "is the key's own: leave it out"))
    elif body.merchant is None:
        raise InvalidRequest(Fault("/merchant", "is required with an access token"))
    row, secret = api_keys.create(
        which(caller, body.merchant),
        body.name,
        list(body.scopes),
        body.expires_at,
        by=caller if isinstance(caller, Merchant) else None,
    )
    return {**key_object(row, db.unit().now), "secret": secret}


@route(
    bp,
    "/v1/api_keys",
    caller=guards.customer_or_merchant("api_keys"),
    query=KeysQuery,
    answer=Keys,
    errors=(NotFound,),
    summary="List API keys",
)
def index(caller: Customer | Merchant, query: KeysQuery) -> dict[str, Any]:
    """The merchant's keys, newest first, the ended ones too."""
    merchant_id = which(caller, query.merchant)
    now = db.now()
    return paging.listing(
        query,
        lambda limit, before: api_keys.of_merchant(merchant_id, limit, before),
        lambda row: key_object(row, now),
    )


@route(
    bp,
    "/v1/api_keys/<key_id>",
    caller=guards.customer_or_merchant("api_keys"),
    answer=KeyObject,
    errors=(NotFound,),
    summary="Get an API key",
)
def show(caller: Customer | Merchant, key_id: str) -> dict[str, Any]:
    """Without its secret."""
    return key_object(api_keys.get(_merchant(caller, key_id), key_id), db.now())


@route(
    bp,
    "/v1/api_keys/<key_id>",
    method="DELETE",
    caller=guards.customer_or_merchant("api_keys"),
    query=Revocation,
    answer=KeyObject,
    once="optional",
    errors=(NotFound,),
    summary="Revoke an API key",
)
def revoke(caller: Customer | Merchant, key_id: str, query: Revocation) -> dict[str, Any]:
    """At once, or `after` so many seconds in which both the old and the new key work. The keys that
    it made stay, for a rotation by the key itself makes the next one. After a theft send
    `made=revoke`: the keys that it made end with it, and theirs, also where it has ended before.
    """
    row = api_keys.revoke(
        _merchant(caller, key_id), key_id, query.after, also_made=query.made == "revoke"
    )
    return key_object(row, db.unit().now)


def _merchant(caller: Customer | Merchant, key_id: str) -> str:
    """The merchant whose key it is, if that is the caller's to see. Raises NotFound."""
    merchant_id = api_keys.merchant_of(key_id)
    if isinstance(caller, Customer):
        if applications.get(merchant_id).owner_id != caller.id:
            raise NotFound
    elif merchant_id != caller.id:
        raise NotFound
    return merchant_id
