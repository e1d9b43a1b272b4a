"""Everything that is tied to one thing, in time order: what on-call reads from top to bottom.

A refund is its payment's story, a delivery its event's, an entry that of what it was for: so each
of them leads to the same page. Phones are masked, one-time codes and secrets are never read.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from payments import ids
from payments.customers import profiles
from payments.db import Row
from payments.money import minor_digits
from payments.tracing import rows
from payments.tracing.seeking import Sought

MOST_STORIES = 5
"""Objects of one request whose stories are told."""

Kind = Literal["object", "event", "money", "hold", "delivery", "attempt", "operator", "person"]
_ORDER: tuple[Kind, ...] = (
    "person", "object", "hold", "money", "event", "delivery", "attempt", "operator",
)  # fmt: skip
"""Of what happened at the same moment: the money before the telling of it."""

Fact = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. id: its own, or of what it happened to. facts: names and values;
    a value that is an id can be sought in turn. good: None where that is no question. said: text
    that came from outside.
    """

    at: datetime
    kind: Kind
    what: str
    id: str
    facts: Sequence[Fact] = ()
    request_id: str | None = None
    good: bool | None = None
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What the story is about, as it is now."""

    title: str
    id: str
    status: str | None
    facts: Sequence[Fact]


@dataclass
class Story:
    """The heads, and all moments in time order. cut: a list was longer than is shown."""

    heads: list[Head] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    cut: bool = False

    def add(self, found: Sequence[Any]) -> Sequence[Any]:
        """The rows; notes where there may be more of them."""
        self.cut = self.cut or len(found) >= rows.LIMIT
        return found

    def sorted(self) -> "Story":
        """In time order, each moment once."""
        once = {(moment.kind, moment.what, moment.id, moment.at): moment for moment in self.moments}
        self.moments = sorted(
            once.values(), key=lambda moment: (moment.at, _ORDER.index(moment.kind), moment.id)
        )
        return self


def of(sought: Sought) -> Story | None:
    """The story of what was sought; None where there is nothing of it."""
    story = Story()
    if sought.kind == "object":
        _of_object(story, sought.text)
    elif sought.kind in ("request", "number"):  # a caller's own id may be digits alone
        _of_request(story, sought.text)
    elif sought.kind == "phone":
        _of_phone(story, sought.text)
    return story.sorted() if story.heads or story.moments else None


def amount(minor: int, currency: str) -> str:
    """`12.34 EUR` of 1234: for people, exact."""
    digits = minor_digits(currency)
    sign, whole = ("-" if minor < 0 else ""), str(abs(minor)).rjust(digits + 1, "0")
    if not digits:
        return f"{sign}{whole} {currency}"
    return f"{sign}{whole[:-digits]}.{whole[-digits:]} {currency}"


def masked(phone: str) -> str:
    """Enough of a phone to tell it from another one on the same page."""
    return f"{phone[:3]}{'•' * max(1, len(phone) - 6)}{phone[-3:]}"


def root(object_id: str) -> str | None:
    """The object whose story this one is part of; None where it is not there."""
    row = rows.one(object_id)
    if row is None:
        return None
    leads_to = {
        "ref": "payment_id", "evt": "object_id", "dlv": "event_id", "att": "delivery_id",
        "ent": "subject_id", "hld": "subject_id",
    }.get(object_id.partition("_")[0])  # fmt: skip
    if leads_to is None:
        return object_id
    return root(getattr(row, leads_to)) or object_id


def _of_object(story: Story, object_id: str) -> None:
    found = root(object_id)
    if found is None:
        return
    prefix = found.partition("_")[0]
    if prefix == "cus":
        _of_customer(story, rows.OBJECTS["cus"].one(id=found))
    elif prefix == "mer":
        _of_merchant(story, found)
    elif prefix == "wal":
        _of_wallet(story, found)
    else:
        _of_subjects(story, [found])
    if found != object_id and not any(moment.id == object_id for moment in story.moments):
        _head(story, object_id)


def _of_subjects(story: Story, found: Sequence[str]) -> None:
    """Objects with all that refers to them: refunds, money, events, deliveries, who touched them.

    An event whose object is nobody's row (a ping's) tells its own story.
    """
    for object_id in found:
        _head(story, object_id)
    refunds = [row.id for row in story.add(rows.among(rows.REFUNDS, found))]
    for refund_id in refunds:
        _head(story, refund_id)
    subjects = [*found, *refunds]
    events = list(story.add(rows.among(rows.EVENTS, subjects)))
    known = {row.id for row in events}
    for object_id in found:
        if object_id.startswith("evt_") and object_id not in known:
            events.append(rows.OBJECTS["evt"].one(id=object_id))
    _events(story, events)
    _money(story, story.add(rows.among(rows.ENTRIES, subjects)))
    for row in story.add(rows.among(rows.HOLDS, subjects)):
        _hold(story, row)
    _operators(story, story.add(rows.among(rows.AUDIT, subjects)))


def _of_request(story: Story, request_id: str) -> None:
    events, entries, audit = rows.of_request(request_id, ids.is_id("rid", request_id))
    if not (events or entries or audit):
        by_code = rows.BY_CODE.scalar(code=request_id.upper())
        if by_code is not None:
            _of_object(story, by_code)
    touched = [row.object_id for row in events] + [row.subject_id for row in entries]
    roots = dict.fromkeys(filter(None, (root(object_id) for object_id in dict.fromkeys(touched))))
    story.cut = len(roots) > MOST_STORIES
    for found in list(roots)[:MOST_STORIES]:
        _of_object(story, found)
    _events(story, story.add(events))
    _money(story, story.add(entries))
    _operators(story, story.add(audit))


def _of_phone(story: Story, phone: str) -> None:
    customer = profiles.find_by_phone(phone)
    if customer is not None:
        _of_customer(story, customer)
    else:
        _asked_of(story, phone)
    if story.moments and not story.heads:
        story.heads.append(Head("Phone", masked(phone), "no customer yet", ()))


def _of_customer(story: Story, row: Row | None) -> None:
    if row is None:
        return
    story.heads.append(
        Head(
            "Customer", row.id, None,
            _given(phone=masked(row.phone), name=row.name, since=_time(row.created_at)),
        )
    )  # fmt: skip
    story.moments.append(Moment(row.created_at, "person", "customer made", row.id))
    if row.signed_in_at is not None:
        story.moments.append(Moment(row.signed_in_at, "person", "first sign-in", row.id))
    wallets = story.add(rows.among(rows.WALLETS, [row.id]))
    for wallet in wallets:
        status = "frozen" if wallet.frozen_at else None
        story.heads.append(Head("Wallet", wallet.id, status, [("currency", wallet.currency)]))
    for session in story.add(rows.SESSIONS.all(id=row.id)):
        _session(story, session)
    _asked_of(story, row.phone)
    for payment in story.add(rows.PAYMENTS_OF_CUSTOMER.all(id=row.id)):
        _movement(story, "payment", payment, merchant=payment.merchant_id, status=payment.status)
    for statement in (rows.SENT, rows.RECEIVED):
        for transfer in story.add(statement.all(id=row.id)):
            other = transfer.recipient_id if transfer.sender_id == row.id else transfer.sender_id
            way = "to" if transfer.sender_id == row.id else "from"
            _movement(story, f"transfer {way}", transfer, **{way: other})
    for deposit in story.add(rows.DEPOSITS.all(id=row.id)):
        _movement(story, "deposit", deposit, service=deposit.service)
    for merchant in story.add(rows.MERCHANTS.all(id=row.id)):
        story.moments.append(
            Moment(merchant.created_at, "object", "merchant applied", merchant.id,
                   _given(name=merchant.name, status=merchant.status))
        )  # fmt: skip
    _operators(story, story.add(rows.among(rows.AUDIT, [row.id, *(w.id for w in wallets)])))


def _asked_of(story: Story, phone: str) -> None:
    """What is known by the phone alone: codes, tries, and payments that wait for it."""
    for code in story.add(rows.CODES.all(phone=phone)):
        story.moments.append(
            Moment(
                code.created_at, "person", "one-time code asked for", code.id,
                _given(
                    status="withheld" if code.withheld else code.status,
                    tries=str(code.tries), address=code.address,
                ),
            )
        )  # fmt: skip
    for attempt in story.add(rows.TRIES.all(phone=phone)):
        story.moments.append(
            Moment(attempt.created_at, "person", "wrong one-time code", attempt.id,
                   [("address", attempt.address)], good=False)
        )  # fmt: skip
    for payment in story.add(rows.PAYMENTS_OF_PHONE.all(phone=phone)):
        _movement(story, "payment", payment, merchant=payment.merchant_id, status=payment.status)


def _of_merchant(story: Story, merchant_id: str) -> None:
    _head(story, merchant_id)
    for endpoint in story.add(rows.ENDPOINTS.all(id=merchant_id)):
        story.heads.append(Head("Endpoint", endpoint.id, endpoint.status, [("url", endpoint.url)]))
    _events(story, story.add(rows.among(rows.EVENTS, [merchant_id])))
    for payment in story.add(rows.PAYMENTS_OF_MERCHANT.all(id=merchant_id)):
        _movement(story, "payment", payment, status=payment.status)
    for payout in story.add(rows.PAYOUTS.all(id=merchant_id)):
        _movement(story, "payout", payout, status=payout.status)
    _operators(story, story.add(rows.among(rows.AUDIT, [merchant_id])))


def _of_wallet(story: Story, account_id: str) -> None:
    _head(story, account_id)
    _money(story, story.add(rows.ENTRIES_OF_ACCOUNT.all(id=account_id)))
    _operators(story, story.add(rows.among(rows.AUDIT, [account_id])))


_TITLES = {
    "pay": "Payment", "ref": "Refund", "trf": "Transfer", "dep": "Deposit", "out": "Payout",
    "adj": "Adjustment", "hld": "Hold", "mer": "Merchant", "we": "Endpoint", "wal": "Wallet",
    "evt": "Event", "dlv": "Delivery", "att": "Attempt", "ent": "Entry",
}  # fmt: skip
_SHOWN = (
    "type", "merchant_id", "customer_id", "owner_id", "sender_id", "recipient_id", "payment_id",
    "account_id", "subject_id", "debit", "credit", "name", "url", "service", "reference",
    "external_reference", "code", "capture", "proposed_by", "decided_by", "caller",
)  # fmt: skip
"""Columns that a head shows as they are; amounts, phones and times are put into words."""
_AMOUNTS = ("amount", "amount_captured", "amount_refunded", "fee", "fee_returned", "held")
_TIMES = ("created_at", "expires_at", "capture_before", "paid_at", "ended_at", "decided_at")


def _head(story: Story, object_id: str) -> None:
    row = rows.one(object_id)
    if row is None:
        return
    told = row._asdict()
    facts = [
        (name, amount(told[name], told["currency"]))
        for name in _AMOUNTS
        if told.get(name) and "currency" in told
    ]
    facts += [(name, told[name]) for name in _SHOWN if told.get(name)]
    if told.get("customer_phone"):
        facts.append(("customer_phone", masked(told["customer_phone"])))
    facts += _given(**{name: _time(told.get(name)) for name in _TIMES})
    status = "frozen" if told.get("frozen_at") else told.get("status")
    title = _TITLES[object_id.partition("_")[0]]
    words = [(name.removesuffix("_id").replace("_", " "), value) for name, value in facts]
    story.heads.append(Head(title, object_id, status, words))


def _events(story: Story, events: Sequence[Row]) -> None:
    """Each event, its deliveries, and every attempt with what came back."""
    for row in events:
        told = json.loads(row.body).get("data", {}).get("object", {})
        facts = _given(
            status=told.get("status"), version=_text(told.get("version")), event=row.id,
            object=row.object_id,
        )  # fmt: skip
        story.moments.append(
            Moment(row.created_at, "event", row.type, row.id, facts, row.request_id)
        )
    deliveries = story.add(rows.among(rows.DELIVERIES, (row.id for row in events)))
    for row in deliveries:
        facts = _given(
            delivery=row.id, endpoint=row.endpoint_id, status=row.status,
            attempts=str(row.attempts), next=_time(row.next_attempt_at), ended=_time(row.ended_at),
        )  # fmt: skip
        good = {"delivered": True, "failed": False}.get(row.status)
        story.moments.append(
            Moment(row.created_at, "delivery", "delivery made", row.id, facts, good=good)
        )
    for row in story.add(rows.among(rows.ATTEMPTS, (row.id for row in deliveries))):
        what = f"attempt {row.number}: {row.http_status or row.outcome}"
        facts = _given(delivery=row.delivery_id, took=f"{row.latency_ms} ms", fault=row.detail)
        story.moments.append(
            Moment(row.created_at, "attempt", what, row.id, facts,
                   good=row.outcome == "success", said=row.response)
        )  # fmt: skip


def _money(story: Story, entries: Sequence[Row]) -> None:
    """Each ledger entry with its lines."""
    lines: dict[str, list[Fact]] = {}
    for posting in rows.among(rows.POSTINGS, (row.id for row in entries)):
        whose = posting.owner_id if posting.kind in ("customer", "merchant") else posting.kind
        line = (f"{amount(posting.amount, posting.currency)}", whose)
        lines.setdefault(posting.entry_id, []).append(line)
    for row in entries:
        facts = [
            *lines.get(row.id, ()),
            *_given(entry=row.id, by=row.caller, object=row.subject_id),
        ]
        story.moments.append(
            Moment(row.created_at, "money", f"money moved: {row.kind}", row.id, facts,
                   row.request_id)
        )  # fmt: skip


def _hold(story: Story, row: Row) -> None:
    facts = _given(hold=row.id, status=row.status, account=row.account_id)
    story.moments.append(Moment(row.created_at, "hold", "amount held", row.id, facts))
    if row.ended_at is not None:
        story.moments.append(Moment(row.ended_at, "hold", f"hold {row.status}", row.id))


def _operators(story: Story, lines: Sequence[Row]) -> None:
    for row in lines:
        after = json.loads(row.after_json) if row.after_json else {}
        facts = _given(
            by=row.actor, outcome=row.outcome, on=row.subject_id, reason=_text(after.get("reason")),
        )  # fmt: skip
        story.moments.append(
            Moment(row.created_at, "operator", row.action, row.id, facts, row.request_id,
                   good=row.outcome == "done")
        )  # fmt: skip


def _session(story: Story, row: Row) -> None:
    story.moments.append(
        Moment(row.created_at, "person", "signed in", row.id,
               _given(status=row.status, device=row.user_agent))
    )  # fmt: skip
    if row.ended_at is not None:
        story.moments.append(Moment(row.ended_at, "person", f"session {row.status}", row.id))


def _movement(story: Story, what: str, row: Row, **facts: str | None) -> None:
    told = [("amount", amount(row.amount, row.currency)), *_given(**facts)]
    story.moments.append(Moment(row.created_at, "object", what, row.id, told))


def _given(**facts: str | None) -> list[Fact]:
    return [(name, value) for name, value in facts.items() if value]


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def names(found: Iterable[Head]) -> str:
    """What a story is about, in a few words, for the page's title."""
    return ", ".join(dict.fromkeys(head.title.lower() for head in found))
