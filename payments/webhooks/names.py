"""Names looked up within a deadline.

getaddrinfo() knows no timeout, so it runs in a thread of its own that nobody waits for longer than
the deadline. Such a thread ends when the resolver gives up; how many there may be is bounded.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from payments.webhooks.faults import Deadline, NameFault, SlowName, TimedOut

LOOKUPS = 64
"""At once, for what is sent; who saves an endpoint has slots apart (`targets`)."""
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

    Raises NameFault when there is none, SlowName when none in time.
    """
    written = literal(host, port)
    if written is not None:
        return [written]
    try:
        if not _slots.acquire(timeout=deadline.left()):
            raise SlowName("too many names are being looked up at once")
    except TimedOut:
        raise SlowName("the time was over before the name was looked up") from None
    return resolve(host, port, deadline, _slots.release)


def resolve(host: str, port: int, deadline: Deadline, ended: Callable[[], object]) -> list[Place]:
    """As `lookup`, in a slot that the caller has taken and that `ended` gives back.

    That is called once, when the resolver has given up, which may be long after the deadline.
    """
    asked = _Asked()
    asking = threading.Thread(
        target=_ask, args=(host, port, asked, ended), daemon=True, name="lookup"
    )
    try:
        asking.start()
    except RuntimeError:  # the system has no thread to give
        ended()
        raise SlowName("the name could not be looked up just now") from None
    try:
        asked.done.wait(deadline.left())
    except TimedOut:
        raise SlowName("the time was over before the name was looked up") from None
    if not asked.done.is_set():
        raise SlowName("the name did not resolve in time")
    if not asked.places:
        raise NameFault(asked.fault)
    return asked.places


def literal(host: str, port: int) -> Place | None:
    """An address written as one needs no resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return Place(socket.AF_INET, (host, port))
    return Place(socket.AF_INET6, (host, port, 0, 0))


def _ask(host: str, port: int, asked: _Asked, ended: Callable[[], object]) -> None:
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
        ended()
        asked.done.set()
