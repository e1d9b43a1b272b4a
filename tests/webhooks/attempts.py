"""One attempt at a time, and receivers below HTTP."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from payments.webhooks import connections, signing
from payments.webhooks.names import Place
from payments.webhooks.sender import Answer, Parcel, Sender
from tests import certificates

SECRET = signing.new_secret()
TIMEOUT_S = 0.6
SLACK_S = 0.5


def parcel(url: str, body: bytes = b'{"id":"evt_1"}') -> Parcel:
    return Parcel("dlv_1", "evt_1", url, body, [signing.key_of(SECRET)], 1)


def timed(sender: Sender, url: str) -> tuple[Answer, float]:
    begun = time.monotonic()
    answer = sender.send(parcel(url))
    return answer, time.monotonic() - begun


def place(address: str, port: int) -> Place:
    return Place(socket.AF_INET, (address, port))


def count_dials(monkeypatch) -> list[int]:
    dialled: list[int] = []
    real = connections.dial

    def dial(host, port, exchange, **more):
        dialled.append(port)
        return real(host, port, exchange, **more)

    monkeypatch.setattr(connections, "dial", dial)
    return dialled


@contextlib.contextmanager
def trusting(made: certificates.Certificate) -> Iterator[Sender]:
    sender = Sender(timeout_s=TIMEOUT_S, allow_private=True, ca_file=str(made.authority))
    with contextlib.closing(sender):
        yield sender


def take_request(connection: socket.socket) -> None:
    """Read until the body of `parcel` has come, or the other side hangs up."""
    got = b""
    while not got.endswith(b'{"id":"evt_1"}') and (more := connection.recv(65_536)):
        got += more


def bow_out(connection: socket.socket) -> None:
    """Hang up in an orderly way, once the other side has spoken."""
    connection.recv(65_536)
    connection.close()


def reset(connection: socket.socket) -> None:
    """Hang up with a reset instead, once the other side has spoken."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.contextmanager
def once(behave) -> Iterator[int]:
    """A server that treats one connection so; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: behave(listener.accept()[0]))
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


@contextlib.contextmanager
def full_backlog(backlog: int = 0, fill: int = 3) -> Iterator[int]:
    """A port whose queue of connections is full: packets to it are swallowed."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        port = int(listener.getsockname()[1])
        for _ in range(fill):
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        yield port
