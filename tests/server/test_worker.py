"""No client holds a thread by being slow: the house's worker under a real Gunicorn."""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.children import Child, plain_environ, wait_until

pytestmark = pytest.mark.slow

THREADS = 2
CONNECTIONS = 40
"""Gunicorn's `worker_connections` here: how many it holds at a time."""


class Server:
    """One process with two threads."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    def connect(self) -> socket.socket:
        """A client's connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, request: bytes) -> bytes:
        """All that comes back, to the end."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def is_prompt(self) -> bool:
        """Whether another client is answered, and at once."""
        began = time.monotonic()
        answer = self.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return answer.endswith(b"\r\n\r\n0") and time.monotonic() - began < 0.8


def read_all(client: socket.socket) -> bytes:
    found = b""
    while part := client.recv(65_536):
        found += part
    return found


def read_to(client: socket.socket, end: bytes) -> bytes:
    """What comes back, until it ends like this."""
    found = b""
    while not found.endswith(end):
        part = client.recv(65_536)
        assert part, found
        found += part
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("server")) as made:
        yield made


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = int(listener.getsockname()[1])
        child = Child(
            [
                *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"),
                *("-k", "tests.server.small_app.QuickWorker", "--threads", str(THREADS)),
                *("--worker-connections", str(CONNECTIONS), "--keep-alive", "30"),
                *("--no-control-socket", "--log-level", "debug"),
                *("--limit-request-line", "8190", "--limit-request-fields", "64"),
                "tests.server.small_app:app",
            ],
            log=folder / "server.log",
            environ=plain_environ(folder),
            pass_fds=[listener.fileno()],
        )
    with child:
        made = Server(child, port)
        child.wait_ready(lambda: made.is_prompt())
        yield made


def refusal(answer: bytes) -> tuple[int, str]:
    """The status and the code of a problem that ends the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert f"X-Request-ID: {problem['request_id']}\r\n".encode() in head
    assert b"Content-Type: application/problem+json\r\n" in head
    assert b"Connection: close" in head
    assert problem["type"] == f"http://pay.test/docs/errors#{problem['code']}"
    assert int(head.split(b" ")[1]) == problem["status"]
    return problem["status"], problem["code"]


HALVES = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half a head": b"POST / HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_clients_that_stop_halfway_hold_no_thread(server, half):
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(4 * THREADS)]
        for client in clients:
            client.sendall(half)
        assert all(server.is_prompt() for _ in range(3))
        if half:
            assert {refusal(read_all(client)) for client in clients} == {(408, "invalid_request")}
        assert server.is_prompt()


def test_what_drips_is_over_at_the_deadline_of_the_whole(server):
    with server.connect() as client:
        began = time.monotonic()
        answer = b""
        client.settimeout(0.1)
        while not answer and time.monotonic() - began < 5:
            client.sendall(b"X")
            try:
                answer = client.recv(65_536)
            except TimeoutError:
                continue
        assert refusal(answer) == (408, "invalid_request")
        assert time.monotonic() - began < 4


def test_an_answer_that_nobody_reads_lets_its_thread_go(server):
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(server.is_prompt, "the threads to be free again")


def test_a_client_that_reads_keeps_its_answer_however_long(server):
    with server.connect() as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        ends = time.monotonic() + 3 * 1.0
        while time.monotonic() < ends:
            assert client.recv(1 << 20)


def test_an_answer_that_breaks_off_ends_its_connection_and_nothing_else(server):
    answer = server.ask(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK") and not answer.endswith(b"0\r\n\r\n")
    assert server.is_prompt()


def test_clients_that_do_not_hang_up_are_left_by_the_way(server):
    """Gunicorn as it comes waits two seconds for each of them, in the loop that serves all."""
    with ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert server.is_prompt()


def test_requests_that_come_in_one_go_are_all_answered(server):
    one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    chunked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    last = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n."
    answer = server.ask(one + chunked + last)
    assert [part[:1] for part in answer.split(b"\r\n\r\n")[1:]] == [b"2", b"3", b"1"]


def test_a_connection_serves_one_request_after_the_other(server):
    with server.connect() as client:
        for length in (1, 70, 3):
            client.sendall(
                f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
            )
            time.sleep(0.05)
            client.sendall(b"y" * length)
            read_to(client, f"\r\n\r\n{length}".encode())


def test_a_client_that_asks_first_is_told_to_go_on(server):
    with server.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert client.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert read_to(client, b"\r\n\r\n2").startswith(b"HTTP/1.1 200 OK")


REFUSED = {
    "no http": (b"GARBAGE\r\n\r\n", 400, "invalid_request"),
    "a bad chunk": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
        400,
        "invalid_request",
    ),
    "a long line": (
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        414,
        "invalid_request",
    ),
    "an endless line": (b"GET /" + b"x" * 40_000, 414, "invalid_request"),
    "many fields": (
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(100)) + b"\r\n",
        431,
        "invalid_request",
    ),
    "an endless head": (
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 8000) for n in range(5)),
        431,
        "invalid_request",
    ),
    "another expectation": (
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n",
        417,
        "invalid_request",
    ),
    "chunks without end": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + 9 * (b"2000\r\n" + b"y" * 8192 + b"\r\n"),
        413,
        "body_too_large",
    ),
}


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_request_is_told_so(server, request_, status, code):
    assert refusal(server.ask(request_)) == (status, code)
    assert server.is_prompt()


@pytest.mark.parametrize("half", list(HALVES.values())[1:], ids=list(HALVES)[1:])
def test_a_request_that_ends_early_never_reaches_the_app(server, half):
    with server.connect() as client:
        client.sendall(half)
        client.shutdown(socket.SHUT_WR)
        assert refusal(read_all(client)) == (400, "invalid_request")
    assert server.is_prompt()


def test_idle_connections_make_room_for_newcomers(server):
    with ExitStack() as stack:
        for _ in range(CONNECTIONS + 5):
            stack.enter_context(server.connect())
        wait_until(server.is_prompt, "a newcomer to be served")


def test_what_was_sent_is_in_no_log(server):
    server.ask(b"GET / HTTP/1.1\r\nHost: x\r\nX-Admin-Token very-secret-thing\r\n\r\n")
    assert server.is_prompt()
    assert "very-secret-thing" not in server.child.log()


def test_a_request_on_its_way_when_the_end_is_asked_for_is_answered(tmp_path):
    with started(tmp_path) as server, server.connect() as client, server.connect() as idle:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        server.child.signal(signal.SIGTERM)
        time.sleep(0.2)
        client.sendall(b"hi")
        answer = read_all(client)
        assert answer.endswith(b"\r\n\r\n2") and b"Connection: close" in answer
        assert read_all(idle) == b""
        assert server.child.wait() == 0
        assert time.monotonic() - began < 6
