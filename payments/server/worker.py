"""Gunicorn's threaded worker, in which no client's slowness holds a thread.

As it comes, a thread is given a connection when its first bytes are there, and waits for the rest:
a few clients that drip hold them all, and `/health` with them. Here the loop collects what comes
(`arriving.py`), so a thread meets whole requests only; how long an answer may take to be read is
bounded too, and a connection is let go without anybody waiting for its other side.
"""

import errno
import io
import selectors
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.http import errors as wire
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from payments.server import refusals
from payments.server.arriving import Arriving
from payments.server.threads import Threads

BODY_BYTES = 64 * 1024
ARRIVES_WITHIN_S = 10.0
"""From the first byte of a request to its last."""
READ_WITHIN_S, READ_BYTES_A_S, READ_WITHIN_AT_MOST_S = 10.0, 64 * 1024, 300.0
"""A client may leave the answer waiting for so long, in one go; and in all for so long and as much
longer as it reads at that rate, for the table of a whole year."""
LINGERS_S, LINGER_BYTES = 2.0, 1024 * 1024
"""How long, and how much, a connection that ends is still heard, so that the last answer is not
lost to a reset (RFC 9112, section 9.6)."""
AT_ONCE_BYTES = 64 * 1024

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}


class Wire(socket.socket):
    """A client's socket on which an answer has its time."""

    _sent = 0
    _waited_s = 0.0

    def begin(self) -> None:
        """The next bytes are another answer's."""
        self._sent, self._waited_s = 0, 0.0

    def sendall(self, *data: Any) -> None:
        """Send; TimeoutError once the client has let too much time go by without reading."""
        allowed = min(READ_WITHIN_S + self._sent / READ_BYTES_A_S, READ_WITHIN_AT_MOST_S)
        if allowed <= self._waited_s:
            raise TimeoutError
        self.settimeout(min(allowed - self._waited_s, READ_WITHIN_S))
        began = time.monotonic()
        super().sendall(*data)
        self._waited_s += time.monotonic() - began
        self._sent += len(data[0])


class Connection(TConn):
    """A client's connection: idle, arriving, with a thread, or leaving."""

    sock: Wire
    arriving: Arriving
    until: float
    heard = 0


class PatientWorker(ThreadWorker):
    """The worker. States that only wait belong to the loop; `handle` alone runs in a thread."""

    tpool: Threads[Connection]

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._told_at = 0.0
        # In the order of their ends, for each kind waits equally long.
        self._arriving: OrderedDict[Connection, None] = OrderedDict()
        self._leaving: OrderedDict[Connection, None] = OrderedDict()

    def get_thread_pool(self) -> Threads[Connection]:
        """Threads of our own, in the child."""
        return Threads(self.cfg.threads, self.handle)

    def run(self) -> None:
        """The loop, until it is told to stop; however it ends, its threads end too."""
        self.poller.register(self.tpool, selectors.EVENT_READ, self._collect)
        try:
            super().run()
        finally:
            self.tpool.shutdown()

    def notify(self) -> None:
        """Tell the arbiter of being alive, once a second: it is asked in every turn of the loop."""
        now = time.monotonic()
        if now - self._told_at >= 1:
            self._told_at = now
            super().notify()

    def enqueue_req(self, conn: Connection) -> None:
        """Give it to a thread."""
        self.tpool.put(conn)

    def _collect(self, _pool: Threads[Connection]) -> None:
        for conn, keep in self.tpool.finished():
            self._finish(conn, keep)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection. It is idle until it says something."""
        try:
            taken, client = listener.accept()
        except OSError as fault:
            if fault.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        sock = Wire(taken.family, taken.type, taken.proto, fileno=taken.detach())
        connection = Connection(self.cfg, sock, client, listener.getsockname())
        self._idle(connection)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """An idle connection spoke: a request begins."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn)

    def _idle(self, conn: Connection) -> None:
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self._watch(conn, self.on_client_socket_readable)

    def _watch(self, conn: Connection, then: Callable[[Connection, Any], None]) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(then, conn))

    def _forget(self, conn: Connection, among: OrderedDict[Connection, None]) -> None:
        """Out of the poller, where a connection that waits is found."""
        if among.pop(conn, self) is None:
            self.poller.unregister(conn.sock)

    def _begin(self, conn: Connection, rest: bytes = b"") -> None:
        """Collect a request, of which so much came with the one before."""
        conn.arriving = Arriving(BODY_BYTES, rest)
        conn.until = time.monotonic() + ARRIVES_WITHIN_S
        if conn.arriving.is_whole:
            self._hand_over(conn)
        else:
            self._hear(conn, conn.sock)

    def _hear(self, conn: Connection, client: socket.socket) -> None:
        try:
            data = client.recv(AT_ONCE_BYTES)
        except BlockingIOError:
            data = None
        except OSError:
            self._close(conn)
            return
        if data == b"" and not conn.arriving:
            self._close(conn)
            return
        if data == b"":
            conn.arriving.end()
        elif data is not None:
            conn.arriving.add(data)
        self._heard(conn)

    def _heard(self, conn: Connection) -> None:
        if conn.arriving.is_whole:
            self._hand_over(conn)
            return
        if conn.arriving.wants_continue:
            conn.arriving.wants_continue = False
            self._say(conn, _CONTINUE)
        if conn not in self._arriving:
            self._arriving[conn] = None
            self._watch(conn, self._hear)

    def _say(self, conn: Connection, data: bytes) -> None:
        """A few bytes from the loop. A client whose buffer is full by now hears nothing."""
        try:
            conn.sock.send(data)
        except OSError as fault:
            self.log.debug("A client could not be told: %s", fault)

    def _hand_over(self, conn: Connection) -> None:
        self._forget(conn, self._arriving)
        self.enqueue_req(conn)

    def handle(self, conn: Connection) -> bool:
        """Answer the request, in a thread; whether another may follow on its connection."""
        request = None
        conn.sock.begin()
        try:
            request = self._parse(conn)
            if not conn.arriving.is_cut:
                # Read here, so that what is wrong with its chunks is no fault in the app.
                request.body = io.BytesIO(request.body.read())
            return self.handle_request(request, conn) and not conn.arriving.is_cut
        except (wire.NoMoreData, StopIteration) as end:
            self.log.debug("A connection ended early: %s", type(end).__name__)
        except OSError as fault:
            if fault.errno in _GONE or isinstance(fault, TimeoutError):
                self.log.debug("A client left before it had its answer: %s", type(fault).__name__)
            else:
                self.log.exception("A connection failed.")
        except Exception as fault:
            self.handle_error(request, conn.sock, conn.client, fault)
        return False

    def _parse(self, conn: Connection) -> Request:
        arriving = conn.arriving
        if arriving.fault == "body":
            raise refusals.BodyOver
        if arriving.fault == "end":
            raise refusals.EndedEarly
        try:
            request = next(RequestParser(self.cfg, [arriving.request()], conn.client))
        except wire.NoMoreData:
            if arriving.fault == "head":
                raise wire.LimitRequestHeaders("head") from None
            raise
        request._expected_100_continue = False  # said by the loop, where it was needed
        if arriving.is_cut:
            request.force_close()
        return request

    def handle_error(self, req: Any, client: Wire, addr: Any, exc: BaseException) -> None:
        """Answer what is no request with a problem. What was sent is neither echoed nor logged."""
        refusal = refusals.of(exc)
        if refusal is None:
            self.log.error("A request met a fault outside of the app.", exc_info=exc)
            refusal = refusals.OURS
        else:
            self.log.info("What came is no request: %s", type(exc).__name__)
        try:
            client.sendall(refusals.answer(refusal, self._public_url()))
        except OSError as fault:
            self.log.debug("A refusal was not heard: %s", fault)

    def _public_url(self) -> str:
        return self.wsgi.extensions["payments_settings"].public_url

    def _finish(self, conn: Connection, keep: bool) -> None:
        """Back in the loop: on to the next request, or to the end."""
        if conn.sock.fileno() < 0:  # an answer that broke off halfway was ended in the thread
            self._close(conn)
            return
        conn.sock.setblocking(False)
        if not keep:
            self._leave(conn)
        elif rest := conn.arriving.rest():
            self._begin(conn, rest)
        else:
            self._idle(conn)
            if not self.alive:
                self._cap_keepalive(time.monotonic() + LINGERS_S)

    def _leave(self, conn: Connection) -> None:
        """Say that nothing more comes, and hear the other side out, in the loop."""
        conn.until = time.monotonic() + LINGERS_S
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._leaving[conn] = None
        self._watch(conn, self._hear_out)

    def _hear_out(self, conn: Connection, client: socket.socket) -> None:
        try:
            data = client.recv(AT_ONCE_BYTES)
        except OSError:
            data = b""
        conn.heard += len(data)
        if not data or conn.heard > LINGER_BYTES:
            self._close(conn)

    def _close(self, conn: Connection) -> None:
        self._forget(conn, self._arriving)
        self._forget(conn, self._leaving)
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """End what was idle for long; where the worker is full, the longest idle for a newcomer."""
        super().murder_keepalived(force)
        while self.nr_conns >= self.worker_connections and self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._close(conn)

    def murder_pending(self) -> None:
        """End what has waited its time: requests that never came whole, and farewells."""
        now = time.monotonic()
        while self._arriving and (conn := next(iter(self._arriving))).until <= now:
            self._say(conn, refusals.answer(refusals.LATE, self._public_url()))
            self._forget(conn, self._arriving)
            self._leave(conn)
        while self._leaving and (conn := next(iter(self._leaving))).until <= now:
            self._close(conn)
