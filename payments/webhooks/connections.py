"""Connections to receivers: to an address that was judged, under one deadline, kept for reuse.

HTTP is the standard library's. `requests`, as others, counts its timeout anew for each read, so a
receiver that drips a byte a second is never late; it looks names up by itself, so that what was
judged need not be what is connected to; and it costs three times as much of the time in which this
process does nothing else. Here the socket asks the exchange's deadline before each operation, and
dials what the guard saw. TLS verifies the original name; proxies are not asked.
"""

import http.client
import socket
import ssl
import threading
import time
from collections import OrderedDict
from select import POLLIN, poll
from typing import Any
from urllib.parse import urlsplit

import certifi

from payments.webhooks import names, targets
from payments.webhooks.faults import (
    AttemptFault,
    Blocked,
    ConnectFault,
    Deadline,
    TimedOut,
    TlsFault,
)
from payments.webhooks.names import Place

HOSTS_KEPT = 256
HEARD_BYTES = 512 * 1024
"""How much an exchange may hear: a head and all that is read of a body, several times over."""
IDLE_S = 60.0
"""A connection that was not used for so long is closed when it is next looked at."""

Origin = tuple[str, str, int]
"""Scheme, host and port: what a kept connection is good for."""


class Exchange:
    """What one request and its answer share: the deadline, and what came back so far.

    heard: bytes of the answer have come. head_whole: so has the blank line that ends its head,
    without which http.client would take what came before a hang-up for an answer.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.heard = False
        self.head_whole = False
        self._count = 0
        self._tail = b""

    def hear(self, data: bytes) -> None:
        """Note bytes of the answer. Raises ConnectFault past what any answer needs: a chunk of
        size -1 would else be read to the end, into memory.
        """
        self.heard = True
        self._count += len(data)
        if self._count > HEARD_BYTES:
            raise ConnectFault("the answer goes on and on")
        if not self.head_whole:
            seen = self._tail + data
            self.head_whole = b"\n\r\n" in seen or b"\n\n" in seen
            self._tail = seen[-2:]

    def late(self) -> TimedOut:
        """What is raised when the time is over."""
        return TimedOut(f"no complete answer within {self.deadline.seconds:g} s")


class _Timed(socket.socket):
    """A socket on which every operation ends at the exchange's deadline."""

    exchange: Exchange

    def recv_into(self, buffer: Any, *size: Any) -> int:
        """Read; TimedOut at the deadline."""
        self.settimeout(self.exchange.deadline.left())
        try:
            count = super().recv_into(buffer, *size)
        except TimeoutError:
            raise self.exchange.late() from None
        if count:
            self.exchange.hear(bytes(buffer[:count]))
        return count

    def sendall(self, *data: Any) -> None:
        """Send all; TimedOut at the deadline."""
        self.settimeout(self.exchange.deadline.left())
        try:
            super().sendall(*data)
        except TimeoutError:
            raise self.exchange.late() from None


class _TimedTls(_Timed, ssl.SSLSocket):
    """The same over TLS."""


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Certificates and names verified, TLS 1.2 or newer. ca_file: instead of certifi's list."""
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    context.sslsocket_class = _TimedTls
    return context


def dial(host: str, port: int, exchange: Exchange, *, allow_private: bool) -> _Timed:
    """Connect to the first place of the name that answers, once all of them were judged.

    Raises NameFault, Blocked, ConnectFault, TimedOut.
    """
    places = names.lookup(host, port, exchange.deadline)
    if not allow_private:
        for place in places:
            if not targets.is_public(place.address):
                raise Blocked(f"{place.address} is not a public address")
    fault: AttemptFault = ConnectFault("the name has no address")
    for index, place in enumerate(places):
        # A place that swallows packets takes its share of the time, not all of it.
        share = exchange.deadline.left() / (len(places) - index)
        try:
            return connect_to(place, exchange, share)
        except TimeoutError:
            fault = exchange.late()
        except OSError as refused:
            fault = ConnectFault(f"no connection: {refused.strerror or refused}")
    raise fault


def connect_to(place: Place, exchange: Exchange, limit_s: float) -> _Timed:
    """Connect to a place that was judged, within so many seconds. Raises OSError."""
    sock = _Timed(place.family, socket.SOCK_STREAM)
    sock.exchange = exchange
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(limit_s)
        sock.connect(place.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


class Connection(http.client.HTTPConnection):
    """To one origin; dialled when the first request is sent. tls None: http."""

    exchange: Exchange
    sock: Any

    def __init__(self, origin: Origin, *, allow_private: bool, tls: ssl.SSLContext) -> None:
        scheme, host, port = origin
        self.default_port = 443 if scheme == "https" else 80
        super().__init__(host, port)
        self.origin = origin
        self.used_at = time.monotonic()
        self._allow_private = allow_private
        self._tls = tls if scheme == "https" else None

    def begin(self, exchange: Exchange) -> None:
        """What is sent and read from now on belongs to this exchange."""
        self.exchange = exchange
        if self.sock is not None:
            self.sock.exchange = exchange

    def connect(self) -> None:
        """Dial, and shake hands for the original name. Raises TlsFault besides dial's."""
        sock: Any = dial(self.host, self.port, self.exchange, allow_private=self._allow_private)
        if self._tls is not None:
            sock = self._secured(sock, self._tls)
        self.sock = sock

    def _secured(self, sock: Any, tls: ssl.SSLContext) -> Any:
        shaken = False
        try:
            sock = tls.wrap_socket(
                sock, server_hostname=self.host.rstrip("."), do_handshake_on_connect=False
            )
            sock.exchange = self.exchange
            sock.settimeout(self.exchange.deadline.left())
            sock.do_handshake()
            shaken = True
        except TimeoutError:
            raise self.exchange.late() from None
        except OSError as fault:
            raise TlsFault(_what_failed(fault)) from None
        finally:
            if not shaken:
                sock.close()
        return sock

    def is_usable(self) -> bool:
        """Whether a kept connection looks alive: the other side has neither closed nor spoken."""
        if self.sock is None or time.monotonic() - self.used_at >= IDLE_S:
            return False
        readable = poll()
        readable.register(self.sock, POLLIN)
        return not readable.poll(0)


def _what_failed(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        return f"no TLS session: {(fault.reason or 'failed').lower().replace('_', ' ')}"
    return f"no TLS session: {fault.strerror or 'the connection was closed'}"


def origin_of(url: str) -> Origin:
    """Where a URL that `targets` has let pass is served."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port


class Kept:
    """Connections that wait for their next request, the last used first. For many threads."""

    def __init__(self) -> None:
        self._idle: OrderedDict[Origin, list[Connection]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, origin: Origin) -> Connection | None:
        """One that looks alive, or None."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                connection = idle.pop() if idle else None
            if connection is None or connection.is_usable():
                return connection
            connection.close()

    def give(self, connection: Connection) -> None:
        """Keep it; past so many hosts, those that were used longest ago are let go."""
        connection.used_at = time.monotonic()
        with self._lock:
            self._idle.setdefault(connection.origin, []).append(connection)
            self._idle.move_to_end(connection.origin)
            old = self._idle.popitem(last=False)[1] if len(self._idle) > HOSTS_KEPT else []
        for one in old:
            one.close()

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            idle = [one for kept in self._idle.values() for one in kept]
            self._idle.clear()
        for one in idle:
            one.close()
