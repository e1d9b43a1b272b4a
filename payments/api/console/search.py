"""One search box: an id, a request id or a phone, and everything tied to it in time order.

The box sends a POST, so that a phone stands in no URL, history or proxy's log; what is found by an
id leads on to a page that can be linked to. All else is answered at once: it may be the name or the
phone of a person. Each look is in the audit trail: it reads what belongs to people. The trail is
for good, so of a number it has the mask, and of a text that nothing is tied to a keyed digest.
"""

import hashlib
import hmac

from flask import Blueprint, Response

from payments import audit, config, db, origin
from payments.api import requests
from payments.api.console import door, pages
from payments.customers import profiles
from payments.tracing import rows, seeking, stories
from payments.tracing.seeking import Sought
from payments.tracing.stories import Story

SEARCH = "/admin/console/search"

bp = Blueprint("console_search", __name__)


@door.page(bp, SEARCH, method="POST")
def seek() -> Response:
    """Leads to what was found; a number, and what nothing is tied to, is answered at once."""
    sought = seeking.read(door.form().get("q", ""))
    if sought.kind == "phone":
        customer = profiles.find_by_phone(sought.text)
        if customer is not None:
            return pages.back_to(SEARCH, q=customer.id)
    if sought.kind == "object" or (sought.kind == "request" and stories.of(sought) is not None):
        return pages.back_to(SEARCH, q=sought.text)
    return _shown(sought)


@door.page(bp, SEARCH)
def look() -> Response:
    """Everything tied to an id or a request id."""
    sought = seeking.read(requests.current().args.get("q", ""))
    if sought.kind in ("phone", "number"):  # a link made by hand: it must not begin to work
        sought = Sought("nothing", "")
    return _shown(sought)


def _shown(sought: Sought) -> Response:
    story = stories.of(sought)
    if sought.kind != "nothing":
        db.in_unit(lambda: _note(sought, story), in_read_only=True)
    return pages.render(
        "search.html",
        200 if story is not None or sought.kind == "nothing" else 404,
        story=story,
        about=stories.names(story.heads) if story is not None else "",
        sought=sought,
        marked=_marked(sought, story),
        shown=stories.masked(sought.text) if _is_number(sought) else sought.text,
        limit=rows.LIMIT,
    )


def _marked(sought: Sought, story: Story | None) -> str | None:
    """What is marked among the moments: not what the whole page is about."""
    heads = {head.id for head in story.heads} if story is not None else set()
    return None if sought.text in heads else sought.text


def _is_number(sought: Sought) -> bool:
    return sought.kind in ("phone", "number")


def _note(sought: Sought, story: Story | None) -> None:
    who = origin.current()
    audit.record(
        who.actor,
        "console.search",
        sought.text if sought.kind == "object" else None,
        outcome="done" if story is not None else "not_found",
        after={"for": sought.kind, "what": _noted(sought, story)},
        request_id=who.request_id,
    )


def _noted(sought: Sought, story: Story | None) -> str:
    """What the trail says was sought."""
    if _is_number(sought):
        return stories.masked(sought.text)
    if sought.kind == "object" or story is not None:
        return sought.text
    key = config.current().secret_key[0].encode()
    return f"hmac:{hmac.digest(key, sought.text.encode(), hashlib.sha256).hex()[:16]}"
