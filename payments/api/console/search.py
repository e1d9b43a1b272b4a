"""One search box: an id, a request id or a phone, and everything tied to it in time order.

The box sends a POST, so that a phone stands in no URL, history or proxy's log; an id leads on to a
page that can be linked to. Each look is in the audit trail: it reads what belongs to people.
"""

from flask import Blueprint, Response

from payments import audit, db, origin
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
    """Leads to what was sought; a phone that is no customer's is shown at once."""
    sought = seeking.read(door.form().get("q", ""))
    if sought.kind in ("object", "request"):
        return pages.back_to(SEARCH, q=sought.text)
    if sought.kind == "phone":
        customer = profiles.find_by_phone(sought.text)
        if customer is not None:
            return pages.back_to(SEARCH, q=customer.id)
    return _shown(sought)


@door.page(bp, SEARCH)
def look() -> Response:
    """Everything tied to an id or a request id."""
    sought = seeking.read(requests.current().args.get("q", ""))
    if sought.kind == "phone":  # a link that somebody made by hand: it must not begin to work
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
        shown=stories.masked(sought.text) if sought.kind == "phone" else sought.text,
        limit=rows.LIMIT,
    )


def _marked(sought: Sought, story: Story | None) -> str | None:
    """What is marked among the moments: not what the whole page is about."""
    heads = {head.id for head in story.heads} if story is not None else set()
    return None if sought.text in heads else sought.text


def _note(sought: Sought, story: Story | None) -> None:
    who = origin.current()
    audit.record(
        who.actor,
        "console.search",
        sought.text if sought.kind == "object" else None,
        outcome="done" if story is not None else "not_found",
        after={
            "for": sought.kind,
            "what": stories.masked(sought.text) if sought.kind == "phone" else sought.text,
        },
        request_id=who.request_id,
    )
