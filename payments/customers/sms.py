"""Text messages: one code to one phone, by what `SMS_BACKEND` says.

`console` writes a line on stdout and into `instance/sms.log`, for development. `http` hands the
message to a gateway in a thread of its own: a slow gateway holds up neither the answer nor the
worker that gave it. One attempt: who gets no message asks for another code. Failures are logged
without phone and code.
"""

import asyncio
import base64
import json
import logging
import os
import re
import socket
import ssl
import sys
import threading
import time
from urllib.parse import SplitResult, unquote, urlsplit

from payments import config
from payments.config import Settings
from payments.counters import OTP_REQUESTS

log = logging.getLogger(__name__)

DEADLINE_S = 10.0
"""For one message in all: name, connection, TLS, request and the answer's status."""
CONNECT_S = 3.0
"""For one address of several, within the deadline."""
MAX_AT_ONCE = 64
"""Messages on their way from one process. Past it they are not sent: the gateway is hanging."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")

_free = threading.BoundedSemaphore(MAX_AT_ONCE)


def send(phone: str, code: str) -> None:
    """Send the code to the phone (E.164). Called after the commit; returns at once."""
    settings = config.current()
    if settings.sms_backend == "console":
        _to_console(settings, phone, code)
    elif _free.acquire(blocking=False):
        # Not a daemon: a process that ends waits for its last messages, at most the deadline.
        threading.Thread(target=_send_apart, args=(settings, phone, code), name="sms").start()
    else:
        OTP_REQUESTS.labels("undelivered").inc()
        log.error("the SMS gateway is hanging: a message was not sent")


def _to_console(settings: Settings, phone: str, code: str) -> None:
    """Past the log, whose redaction would take both out."""
    line = f"OTP {phone} {code}\n"
    path = settings.instance_dir / "sms.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())  # in one piece: processes share the file
    finally:
        os.close(descriptor)
    sys.stdout.write(line)
    sys.stdout.flush()


def _send_apart(settings: Settings, phone: str, code: str) -> None:
    try:
        text = f"{code} is your code. It is good for 5 minutes. Give it to nobody."
        status = _post(settings, {"to": phone, "text": text})
        if not 200 <= status < 300:
            OTP_REQUESTS.labels("undelivered").inc()
            log.error("the SMS gateway refused a message", extra={"status": status})
    except TimeoutError:
        OTP_REQUESTS.labels("undelivered").inc()
        log.error("the SMS gateway did not answer in time", extra={"deadline_s": DEADLINE_S})
    except Exception as fault:  # the thread's end: nobody above would hear of it
        OTP_REQUESTS.labels("undelivered").inc()
        log.error("the SMS gateway could not be reached", extra={"fault": type(fault).__name__})
    finally:
        _free.release()


def _post(settings: Settings, message: dict[str, str]) -> int:
    """POST the message as JSON; the status of the answer. Redirects are answers like others.

    Plain HTTP/1.1 over asyncio, whose timeout covers the whole exchange; no proxy of the
    environment has a say. Raises TimeoutError, OSError, ValueError for what is not HTTP.
    """
    url = urlsplit(settings.sms_http_url or "")
    request = _request(url, settings.sms_http_authorization, message)
    ends = time.monotonic() + DEADLINE_S
    # In this thread: asyncio would ask for names in another, which a process that is ending does
    # not start any more.
    found = socket.getaddrinfo(url.hostname, _port(url), type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    return asyncio.run(_exchange(url, addresses, request, ends - time.monotonic()))


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _exchange(url: SplitResult, addresses: list[str], request: bytes, within_s: float) -> int:
    async with asyncio.timeout(within_s):
        reader, writer = await _connect(url, addresses)
        try:
            writer.write(request)
            await writer.drain()
            return await _status(reader)
        finally:
            writer.transport.abort()


async def _connect(
    url: SplitResult, addresses: list[str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address that takes it. Raises the last one's OSError."""
    tls = ssl.create_default_context() if url.scheme == "https" else None
    last = OSError("the name has no address")
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(
                    address, _port(url), ssl=tls, server_hostname=url.hostname if tls else None
                )
        except OSError as fault:  # a TimeoutError is one
            last = fault
    raise last


def _request(url: SplitResult, authorization: str | None, message: dict[str, str]) -> bytes:
    body = json.dumps(message).encode()
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if authorization is None and url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "User-Agent: payments",
        "Connection: close",
    ]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    """The final status: an interim one (1xx) and its fields are read over."""
    while True:
        found = _STATUS.match(await reader.readline())
        if found is None:
            raise ValueError("the answer is not HTTP")
        status = int(found[1])
        if status >= 200:
            return status
        while (await reader.readline()).strip():
            pass
