"""Connections to receivers: to an address that was judged, under one deadline, kept for reuse.

`requests` counts its timeout anew for each read, so a receiver that drips a byte a second is never
late; and it looks a name up by itself, so that what was judged need not be what is connected to.
Here the socket asks the exchange's deadline before each operation, and dials what the guard saw.
Names and certificates are verified as ever: TLS knows the original name, not the address.
"""

import socket
import ssl
from contextvars import ContextVar
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

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
KEPT_PER_HOST = 64


class Exchange:
    """What one request and its answer share: the deadline, and what happened on the connection.

    fresh: a connection that is kept must not be used. reused: the connection had served before.
    heard: bytes of the answer have come. head_whole: so has the blank line that ends its head,
    without which http.client would take what came before a hang-up for an answer.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        allow_private: bool,
        tls: ssl.SSLContext,
        fresh: bool = False,
    ) -> None:
        self.deadline = deadline
        self.allow_private = allow_private
        self.tls = tls
        self.fresh = fresh
        self.reused = False
        self.heard = False
        self.head_whole = False
        self._head = b""

    def hear(self, data: bytes) -> None:
        """Note bytes of the answer, as long as its head is not whole."""
        self.heard = True
        self._head += data
        self.head_whole = b"\n\r\n" in self._head or b"\n\n" in self._head


current: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange that this thread is in: connections are made and used far below the caller."""


class _Timed(socket.socket):
    """A socket on which every operation ends at the exchange's deadline."""

    exchange: Exchange

    def _arm(self) -> None:
        self.settimeout(self.exchange.deadline.left())

    def recv_into(self, buffer: Any, *size: Any) -> int:
        """Read; TimedOut at the deadline."""
        self._arm()
        try:
            count = super().recv_into(buffer, *size)
        except TimeoutError:
            raise _late(self.exchange) from None
        if count and not self.exchange.head_whole:
            self.exchange.hear(bytes(buffer[:count]))
        return count

    def sendall(self, *data: Any) -> None:
        """Send all; TimedOut at the deadline."""
        self._arm()
        try:
            super().sendall(*data)
        except TimeoutError:
            raise _late(self.exchange) from None


class _TimedTls(_Timed, ssl.SSLSocket):
    """The same over TLS."""


def _late(exchange: Exchange) -> TimedOut:
    return TimedOut(f"no complete answer within {exchange.deadline.seconds:g} s")


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Certificates and names verified, TLS 1.2 or newer. ca_file: instead of certifi's list."""
    context = ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
    context.sslsocket_class = _TimedTls
    return context


def dial(host: str, port: int) -> _Timed:
    """Connect to the first place of the name that answers, once all of them were judged.

    Raises NameFault, Blocked, ConnectFault, TimedOut.
    """
    exchange = current.get()
    places = names.lookup(host, port, exchange.deadline)
    if not exchange.allow_private:
        for place in places:
            if not targets.is_public(place.address):
                raise Blocked(f"{place.address} is not a public address")
    fault: AttemptFault = ConnectFault("the name has no address")
    for index, place in enumerate(places):
        # A place that swallows packets takes its share of the time, not all of it.
        share = exchange.deadline.left() / (len(places) - index)
        try:
            return _connect(place, exchange, share)
        except TimeoutError:
            fault = _late(exchange)
        except OSError as refused:
            fault = ConnectFault(f"no connection: {refused.strerror or refused}")
    raise fault


def _connect(place: Place, exchange: Exchange, limit_s: float) -> _Timed:
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


class _Kept:
    """What both kinds of connection do when they are asked to send."""

    sock: Any

    def request(self, *what: Any, **more: Any) -> None:
        """Send a request, in the thread's exchange: on a kept connection that is a new one."""
        exchange = current.get()
        if self.sock is not None and self.sock.exchange is not exchange:
            if exchange.fresh:
                self.close()  # type: ignore[attr-defined]
            else:
                self.sock.exchange = exchange
                exchange.reused = True
        super().request(*what, **more)  # type: ignore[misc]


class _Plain(_Kept, HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return dial(self.host, self.port)


class _Tls(_Kept, HTTPSConnection):
    def connect(self) -> None:
        """Dial, then shake hands for the original name. Raises TlsFault besides dial's."""
        exchange = current.get()
        sock: Any = dial(self.host, self.port)
        try:
            sock = exchange.tls.wrap_socket(
                sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            sock.exchange = exchange
            sock.settimeout(exchange.deadline.left())
            sock.do_handshake()
            self.sock = sock
        except TimeoutError:
            raise _late(exchange) from None
        except OSError as fault:
            raise TlsFault(_what_failed(fault)) from None
        finally:
            if self.sock is None:
                sock.close()
        self.is_verified = True


def _what_failed(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        return f"no TLS session: {(fault.reason or 'failed').lower().replace('_', ' ')}"
    return f"no TLS session: {fault.strerror or 'the connection was closed'}"


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class GuardedAdapter(HTTPAdapter):
    """requests' transport over these connections. No redirect is followed, no proxy asked."""

    def __init__(self) -> None:
        super().__init__(pool_connections=HOSTS_KEPT, pool_maxsize=KEPT_PER_HOST)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def close(self) -> None:
        """Close what is kept, now: urllib3 leaves that to the garbage collector."""
        pools = self.poolmanager.pools
        for key in pools.keys():
            pools[key].close()
        super().close()
