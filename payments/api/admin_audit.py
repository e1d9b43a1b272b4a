"""`/admin/audit`: who did what, refused calls too."""

from typing import Any

from flask import Blueprint

from payments import audit
from payments.api import guards, paging
from payments.api.routing import route
from payments.api.schemas.audit import AuditQuery, AuditTrail

bp = Blueprint("admin_audit", __name__)


@route(
    bp,
    "/admin/audit",
    caller=guards.operator,
    query=AuditQuery,
    answer=AuditTrail,
    summary="List the audit trail",
)
def index(query: AuditQuery) -> dict[str, Any]:
    """Each call, who, what, before and after; newest first. It can only be added to.

    Calls that come without a right token are counted: one line for each address and minute.
    """
    return paging.listing(
        query,
        lambda limit, before: audit.page(query.wanted(), limit, before),
        audit.record_object,
    )
