"""The audit trail: who did what, with filters, page by page."""

import json
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response

from payments import audit
from payments.api import bodies, paging, requests
from payments.api.console import door, pages
from payments.api.console.webhooks import moment_of
from payments.api.schemas.audit import AuditQuery

FILTERS = ("actor", "action", "subject", "from", "to")
SHOWN = "50"

bp = Blueprint("console_trail", __name__)


@door.page(bp, "/admin/console/audit")
def trail() -> Response:
    """Newest first."""
    args = requests.current().args
    given = {name: args[name].strip() for name in (*FILTERS, "cursor") if args.get(name)}
    wanted = dict(given)
    for name in ("from", "to"):
        if name in wanted:
            wanted[name] = moment_of(wanted[name], name)
    query = bodies.validate(AuditQuery, {"limit": SHOWN, **wanted})
    found = paging.listing(
        query,
        lambda limit, before: audit.page(query.wanted(), limit, before),
        _shown,
    )
    following = given | {"cursor": found["next_cursor"]} if found["next_cursor"] else None
    return pages.render(
        "audit.html",
        rows=found["data"],
        given=given,
        next_url=following and f"?{urlencode(following)}",
    )


def _shown(row: Any) -> dict[str, Any]:
    """The line as people read it: what was before and after, member by member."""
    told = audit.record_object(row)
    names = [*(told["before"] or {}), *(told["after"] or {})]
    changes = [
        (name, _text((told["before"] or {}).get(name)), _text((told["after"] or {}).get(name)))
        for name in dict.fromkeys(names)
    ]
    return told | {"at": row.created_at, "changes": changes}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
