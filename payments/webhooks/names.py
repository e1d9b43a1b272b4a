"""Names looked up within a deadline.

getaddrinfo() knows no timeout, so it runs in a thread of its own that nobody waits for longer than
the deadline. Such a thread ends when the resolver gives up; how many there may be is bounded.
"""

import ipaddress
import socket
import threading
from dataclasses import dataclass, field

from payments.webhooks.faults import Deadline, NameFault, TimedOut

LOOKUPS = 64
_slots = threading.BoundedSemaphore(LOOKUPS)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Place:
    """Where one address of a name is reached: what socket.socket() and connect() take."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]

    @property
    def address(self) -> Address:
        """The address itself, with its scope where it has one."""
        return ipaddress.ip_address(self.sockaddr[0])


@dataclass
class _Asked:
    done: threading.Event = field(default_factory=threading.Event)
    places: list[Place] = field(default_factory=list)
    fault: str = ""


def lookup(host: str, port: int, deadline: Deadline) -> list[Place]:
    """Every place the name stands for, in the resolver's order, at least one.

    Raises NameFault when there is none, or none in time.
    """
    literal = _literal(host, port)
    if literal is not None:
        return [literal]
    asked = _Asked()
    try:
        if not _slots.acquire(timeout=deadline.left()):
            raise NameFault("too many names are being looked up at once")
        threading.Thread(target=_ask, args=(host, port, asked), daemon=True, name="lookup").start()
        asked.done.wait(deadline.left())
    except TimedOut:
        raise NameFault("the time was over before the name was looked up") from None
    if not asked.done.is_set():
        raise NameFault("the name did not resolve in time")
    if not asked.places:
        raise NameFault(asked.fault)
    return asked.places


def _literal(host: str, port: int) -> Place | None:
    """An address written as one needs no resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return Place(socket.AF_INET, (host, port))
    return Place(socket.AF_INET6, (host, port, 0, 0))


def _ask(host: str, port: int, asked: _Asked) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        for family, _type, _proto, _name, sockaddr in found:
            if family in (socket.AF_INET, socket.AF_INET6):
                asked.places.append(Place(family, sockaddr))  # type: ignore[arg-type]
        asked.fault = "the name has no address"
    except (OSError, UnicodeError) as fault:
        said = fault.strerror if isinstance(fault, OSError) else None
        asked.fault = f"the name does not resolve: {said or 'it is not a host name'}"
    finally:
        _slots.release()
        asked.done.set()
