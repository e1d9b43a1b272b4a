"""A real webhook receiver on loopback: it keeps what it is sent, and behaves as badly as scripted.

    with Receiver() as receiver:
        receiver.script("/hook", answer(500), answer(429, retry_after=2), answer())
        ...
        first, second, third = receiver.wait_for(3, "/hook")

Each request to a path plays the next behaviour; the last one stays. An unscripted path answers 200.
"""

import socket
import ssl
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.children import wait_until

FLOOD_CHUNK = b"x" * 65_536


@dataclass(frozen=True)
class Received:
    """One request as it came in. headers: names in lower case. body: the bytes as sent.

    at: aware, UTC, when its body was whole; clock_s: the same moment by the monotonic clock.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime
    clock_s: float


Behaviour = Callable[["_Handler"], None]


def answer(
    status: int = 200,
    body: bytes = b"",
    *,
    retry_after: int | str | None = None,
    location: str | None = None,
    after_s: float = 0,
) -> Behaviour:
    """An answer, `after_s` seconds late; retry_after and location become headers."""

    def play(handler: "_Handler") -> None:
        handler.rest(after_s)
        headers = {"Retry-After": retry_after, "Location": location}
        handler.answer(status, body, {k: str(v) for k, v in headers.items() if v is not None})

    return play


def gone() -> Behaviour:
    """410: never again."""
    return answer(410)


def redirect(location: str, status: int = 307) -> Behaviour:
    """An answer that points elsewhere."""
    return answer(status, location=location)


def hang(seconds: float = 3600) -> Behaviour:
    """Take the request and say nothing; then close."""

    def play(handler: "_Handler") -> None:
        handler.rest(seconds)
        handler.close_connection = True

    return play


def drip_head(pause_s: float = 0.2, status: int = 200) -> Behaviour:
    """The head byte by byte, so that a timeout for each read never strikes."""

    def play(handler: "_Handler") -> None:
        head = f"HTTP/1.1 {status} OK\r\nX-Filler: {'x' * 4000}\r\nContent-Length: 0\r\n\r\n"
        handler.drip(head.encode(), pause_s)

    return play


def drip_body(pause_s: float = 0.2, size: int = 4000, status: int = 200) -> Behaviour:
    """A whole head at once, then the body byte by byte."""

    def play(handler: "_Handler") -> None:
        handler.send(f"HTTP/1.1 {status} OK\r\nContent-Length: {size}\r\n\r\n".encode())
        handler.drip(b"x" * size, pause_s)

    return play


def cut(sent: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of") -> Behaviour:
    """Close in the middle of an answer; `cut(b"")` closes without a word."""

    def play(handler: "_Handler") -> None:
        handler.send(sent)
        handler.close_connection = True

    return play


def flood(status: int = 200, size: int = 10**12) -> Behaviour:
    """A body that does not end before the sender hangs up (or after `size` bytes)."""

    def play(handler: "_Handler") -> None:
        handler.send(f"HTTP/1.1 {status} OK\r\nContent-Length: {size}\r\n\r\n".encode())
        sent = 0
        while sent < size and handler.send(FLOOD_CHUNK[: size - sent]):
            sent += len(FLOOD_CHUNK)

    return play


def babble(sent: bytes = b"220 mail.example ESMTP\r\n") -> Behaviour:
    """Speak, but not HTTP."""
    return cut(sent)


@dataclass
class _Path:
    behaviours: list[Behaviour] = field(default_factory=lambda: [answer()])
    played: int = 0

    def next(self) -> Behaviour:
        found = self.behaviours[min(self.played, len(self.behaviours) - 1)]
        self.played += 1
        return found


class Receiver:
    """A threaded HTTP server on a free loopback port. Use it in a `with`: the end frees all.

    tls: a server's context, for https. address: another loopback address than 127.0.0.1.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._paths: dict[str, _Path] = defaultdict(_Path)
        self._scheme = "https" if tls else "http"
        self._server = _Server((address, 0), self, tls)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="receiver"
        )

    def url(self, path: str = "/hook") -> str:
        """The address of one of its paths."""
        host, port = self._server.server_address[:2]
        return f"{self._scheme}://{host!s}:{port}{path}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def script(self, path: str, *behaviours: Behaviour) -> None:
        """From here on the path plays these, one a request; the last one stays."""
        with self._lock:
            self._paths[path] = _Path(list(behaviours))

    def received(self, path: str | None = None) -> list[Received]:
        """What has come in so far, to the path or to all, in order."""
        with self._lock:
            return [one for one in self._received if path in (None, one.path)]

    def wait_for(
        self, count: int, path: str | None = None, timeout_s: float = 20.0
    ) -> list[Received]:
        """The requests, once there are that many. Raises TimeoutError."""
        what = f"{count} requests to {path or 'any path'}"
        wait_until(lambda: len(self.received(path)) >= count, what, timeout_s)
        return self.received(path)

    def forget(self) -> None:
        """Forget what has come in; scripts go on where they are."""
        with self._lock:
            self._received.clear()

    def take(self, request: Received) -> Behaviour:
        """Keep a request; what its path does now. For the server's own use."""
        with self._lock:
            self._received.append(request)
            return self._paths[request.path.partition("?")[0]].next()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.cut_all()
        self._server.server_close()  # joins the threads that served requests
        self._thread.join()
        if self._server.faults:
            raise ExceptionGroup("the receiver's own faults", self._server.faults)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], receiver: Receiver, tls: ssl.SSLContext | None
    ) -> None:
        self.receiver = receiver
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self.faults: list[Exception] = []
        super().__init__(address, _Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: TLS first, so that a slow shake blocks nobody else."""
        try:
            if self._tls is not None:
                request.settimeout(10)
                request = self._tls.wrap_socket(request, server_side=True)
        except OSError:
            request.close()  # the other side did not like our certificate
            return
        with self._open_lock:
            self._open.add(request)
            if self.receiver.closing.is_set():
                _hang_up(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that hangs up is what many tests are about; anything else is a fault of ours."""
        fault = sys.exc_info()[1]
        if isinstance(fault, Exception) and not isinstance(fault, OSError):
            self.faults.append(fault)

    def cut_all(self) -> None:
        """End every connection, idle ones too, so that their threads end."""
        with self._open_lock:
            for connection in self._open:
                _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:  # noqa: N802 (the library's name)
        """Keep the request, then behave."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        moment, clock_s = datetime.now(UTC), time.monotonic()
        request = Received(self.command, self.path, headers, body, moment, clock_s)
        self.server.receiver.take(request)(self)

    do_GET = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_POST  # noqa: N815

    def rest(self, seconds: float) -> None:
        """Wait, but not longer than the receiver lives."""
        self.server.receiver.closing.wait(seconds)

    def send(self, data: bytes) -> bool:
        """Send bytes as they stand. False once nobody listens any more."""
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
            return False
        return not self.server.receiver.closing.is_set()

    def drip(self, data: bytes, pause_s: float) -> None:
        """Send byte by byte."""
        for place in range(len(data)):
            if not self.send(data[place : place + 1]):
                return
            self.rest(pause_s)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.send(body)

    def log_message(self, format: str, *_arguments: object) -> None:
        """Say nothing: what came in is in `received`."""
