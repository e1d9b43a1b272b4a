"""A load of HTTP requests over kept-alive sockets, with as little Python as it takes.

Client, service and database share the machine, so what the client spends is taken from what it
measures: requests are made beforehand, and of an answer only the status and length are read.
"""

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What a load came to. elapsed_s: from the first request to the last answer."""

    done: int = 0
    elapsed_s: float = 0.0
    refused: list[bytes] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Requests answered as wanted, a second."""
        return self.done / self.elapsed_s


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of one POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run(port: int, requests: Sequence[bytes], *, clients: int, seconds: float) -> Outcome:
    """Send the requests from so many clients until they or the seconds run out."""
    outcome = Outcome()
    lock = threading.Lock()
    deadline = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_client, args=(port, requests[n::clients], deadline, outcome, lock))
        for n in range(clients)
    ]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.elapsed_s = time.monotonic() - begun
    return outcome


def _client(
    port: int,
    requests: Sequence[bytes],
    deadline: float,
    outcome: Outcome,
    lock: threading.Lock,
) -> None:
    done, refused = 0, []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            if time.monotonic() > deadline:
                break
            connection.sendall(request)
            answer = _answer(connection)
            if answer.startswith(b"HTTP/1.1 20"):
                done += 1
            else:
                refused.append(answer)
    with lock:
        outcome.done += done
        outcome.refused += refused


def _answer(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    _, _, after = head.lower().partition(b"content-length:")
    wanted = int(after.split(b"\r\n", 1)[0])
    while len(body) < wanted:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the service hung up in the middle of an answer")
    return data
