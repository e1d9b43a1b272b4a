"""One attempt: the request, the exchange within one deadline, and how it ended.

It knows no database: what to send comes in, what came back goes out.
"""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from payments import clock
from payments.webhooks import connections, signing
from payments.webhooks.connections import Connection, Exchange, Kept
from payments.webhooks.faults import AttemptFault, Blocked, ConnectFault, Deadline

KEPT_BYTES = 2048
"""How much of an answer is kept with the attempt."""
READ_BYTES = 65_536
"""How much of an answer is read at all; past it the connection is given up, not the delivery."""
MAX_RETRY_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one attempt sends.

    keys: one, or two while a secret rotates, the current one first; none where it can't be read.
    """

    delivery_id: str
    event_id: str
    url: str
    body: bytes
    keys: Sequence[bytes]
    attempt: int


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended. outcome: one of `faults.OUTCOMES`.

    response: the first 2 KiB as text; bytes that are no UTF-8 are replaced. detail: what went
    wrong, in words. retry_after_s: what the receiver asked for, at most a day. sent_at: aware.
    """

    outcome: str
    sent_at: datetime
    latency_ms: int
    http_status: int | None = None
    response: str | None = None
    detail: str | None = None
    retry_after_s: float | None = None


class Sender:
    """Sends parcels, from any number of threads, over connections that are kept for reuse.

    timeout_s: the deadline of an exchange, from name lookup to the last byte. allow_private: the
    guard of `targets` is lifted. ca_file: trusted instead of the usual list.
    """

    def __init__(
        self, *, timeout_s: float, allow_private: bool, ca_file: str | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._tls = connections.tls_context(ca_file)
        self._kept = Kept()

    def send(self, parcel: Parcel) -> Answer:
        """Make the attempt. Nothing is raised: every ending is an answer."""
        sent_at, begun = clock.now(), perf_counter()
        deadline = Deadline(self._timeout_s)
        found: dict[str, Any]
        try:
            if not parcel.keys:
                raise Blocked("the endpoint's secret can't be read: nothing is sent unsigned")
            found = self._attempt(parcel, sent_at, deadline)
        except AttemptFault as fault:
            found = {"outcome": fault.outcome, "detail": fault.detail}
        except (http.client.HTTPException, OSError) as broken:
            found = {"outcome": "connect", "detail": words(broken)}
        took_ms = round((perf_counter() - begun) * 1000)
        return Answer(sent_at=sent_at, latency_ms=took_ms, **found)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._kept.close()

    def _attempt(self, parcel: Parcel, sent_at: datetime, deadline: Deadline) -> dict[str, Any]:
        """The exchange, a second time where a kept connection had died unheard: that was no try."""
        headers = signing.headers(
            event_id=parcel.event_id,
            delivery_id=parcel.delivery_id,
            attempt=parcel.attempt,
            keys=parcel.keys,
            sent_at=sent_at,
            body=parcel.body,
        )
        origin = connections.origin_of(parcel.url)
        kept = self._kept.take(origin)
        if kept is not None:
            exchange = Exchange(deadline)
            try:
                return self._converse(kept, exchange, parcel, headers)
            except (http.client.HTTPException, OSError):
                if exchange.heard:
                    raise
        fresh = Connection(origin, allow_private=self._allow_private, tls=self._tls)
        return self._converse(fresh, Exchange(deadline), parcel, headers)

    def _converse(
        self, connection: Connection, exchange: Exchange, parcel: Parcel, headers: dict[str, str]
    ) -> dict[str, Any]:
        keep = False
        try:
            connection.begin(exchange)
            connection.request("POST", path_of(parcel.url), parcel.body, headers)
            response = connection.getresponse()
            text, whole = _read(response)
            if not exchange.head_whole:
                raise ConnectFault("the connection was closed in the middle of the answer's head")
            keep = whole and not response.will_close
        finally:
            if keep:
                self._kept.give(connection)
            else:
                connection.close()
        return _judge(response, text, whole)


def _judge(response: http.client.HTTPResponse, text: str, whole: bool) -> dict[str, Any]:
    """What the answer means for the delivery: its status alone decides."""
    family = response.status // 100
    if family == 2:
        return {"outcome": "success", "http_status": response.status, "response": text}
    if family not in (3, 4, 5):
        return {
            "outcome": "connect",
            "http_status": response.status,
            "detail": "not an HTTP answer",
        }
    return {
        "outcome": f"http_{family}xx",
        "http_status": response.status,
        "response": text,
        "detail": None if whole else "the answer was longer than is read",
        "retry_after_s": retry_after_s(response.headers.get("Retry-After"), clock.now()),
    }


def path_of(url: str) -> str:
    """What the request line asks for."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _read(response: http.client.HTTPResponse) -> tuple[str, bool]:
    """The first 2 KiB as text, and whether that was read to the end.

    Raises ConnectFault where less came than was announced, besides what reading raises.
    """
    kept, count = b"", 0
    while count <= READ_BYTES:
        chunk = response.read(KEPT_BYTES if count < KEPT_BYTES else READ_BYTES)
        if not chunk:
            if response.length:
                raise ConnectFault("the connection was closed in the middle of the answer")
            return _text(kept), True
        kept = (kept + chunk)[:KEPT_BYTES]
        count += len(chunk)
    return _text(kept), False


def _text(raw: bytes) -> str:
    """Text that any database takes: a NUL is replaced as bytes are that are no UTF-8."""
    return raw.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def retry_after_s(value: str | None, moment: datetime) -> float | None:
    """What a `Retry-After` asks for, in seconds, at most a day. None for what is not one.

    Source: RFC 9110, 10.2.3: seconds, or an HTTP date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), MAX_RETRY_AFTER_S)
    try:
        asked = parsedate_to_datetime(text)
        asked = asked.replace(tzinfo=UTC) if asked.tzinfo is None else asked
        return min(max((asked - moment).total_seconds(), 0), MAX_RETRY_AFTER_S)
    except (TypeError, ValueError, OverflowError):
        return None


def words(fault: Exception) -> str:
    """What broke, without the addresses and bytes that a library's text is full of."""
    if isinstance(fault, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(fault, http.client.IncompleteRead):
        return "the connection was closed in the middle of the answer"
    if isinstance(fault, http.client.HTTPException):
        return "the answer is not HTTP"
    return f"the exchange broke: {getattr(fault, 'strerror', None) or type(fault).__name__}"
