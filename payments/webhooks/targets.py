"""Which addresses webhooks may reach, judged when an endpoint is saved and again at each connect.

A merchant chooses the URL, and this service stands inside a network: without this guard a webhook
would be a way to reach what only the inside may reach. The list is ours, not Python's `is_global`,
which changes between releases. `WEBHOOK_ALLOW_PRIVATE_TARGETS` lifts it in development.
"""

import ipaddress
import re
import threading
from functools import partial
from urllib.parse import urlsplit

from payments import config
from payments.errors import Busy, Fault, InvalidRequest
from payments.webhooks import names
from payments.webhooks.faults import Deadline, NameFault, SlowName
from payments.webhooks.names import Address, Place

MAX_URL = 2048
MAX_HOST = 253
SAVE_LIMIT_S = 1.0
"""A request waits no longer for a name."""
SAVES = 4
"""Names looked up at once in this process for endpoints that are being saved; a merchant has one,
so that none whose names never resolve takes the turns of others.
"""
SAVE_AGAIN_S = 5
LOWEST_HIGH_PORT = 1024
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_HOST_V6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)  # without a scope
_URL = re.compile(r"[!-\[\]-~]+", re.ASCII)  # printable ASCII without blank and backslash

# IANA's special-purpose registry for IPv4, less what is plainly public; and Azure's metadata
# address, which lies among the public ones.
_REFUSED_V4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24"
        " 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24"
        " 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32"
    ).split()
]
# IPv6: global unicast alone is reachable at all; within it, protocol assignments (Teredo among
# them), documentation, and 6to4, whose relays would carry a packet to a private IPv4 address.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = [
    ipaddress.IPv6Network(text) for text in "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split()
]
# With NAT64 every IPv4 host has such an address: the one inside is judged.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether a webhook may go there. Mapped and NAT64 forms are judged by the IPv4 inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    plain = ipaddress.IPv6Address(int(address))  # without a scope
    if plain in _NAT64:
        return is_public(ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF))
    return plain in _GLOBAL_V6 and not any(plain in network for network in _REFUSED_V6)


class Saves:
    """Whose names are being looked up in this process because an endpoint is being saved.

    A turn lasts until the resolver has given up, not only as long as its request waits.
    """

    def __init__(self, limit: int = SAVES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._merchants: set[str] = set()

    def begin(self, merchant_id: str) -> None:
        """Take a turn. Raises Busy."""
        with self._lock:
            if merchant_id in self._merchants or len(self._merchants) >= self._limit:
                raise Busy(
                    "Names of other endpoints are being looked up. Try again in a moment.",
                    retry_after_s=SAVE_AGAIN_S,
                )
            self._merchants.add(merchant_id)

    def end(self, merchant_id: str) -> None:
        """Give it back."""
        with self._lock:
            self._merchants.remove(merchant_id)


_saves = Saves()


def check(url: str, merchant_id: str) -> None:
    """Refuse a URL that webhooks could not, or must not, be sent to.

    Looks its name up, for at most 1 s, unless private targets are allowed: call it outside a unit
    of work, after the rows. Raises InvalidRequest, pointer `/url`; Busy for a name that was not
    looked up in time, or has to wait for others.
    """
    allow_private = config.current().webhook_allow_private_targets
    host, port = _parts(url, allow_private)
    if allow_private:
        return
    literal = names.literal(host, port)
    places = [literal] if literal is not None else _looked_up(host, port, merchant_id)
    if not all(is_public(place.address) for place in places):
        raise _refusal("must name a public host: it resolves to an address that is not")


def _looked_up(host: str, port: int, merchant_id: str) -> list[Place]:
    _saves.begin(merchant_id)
    try:
        return names.resolve(host, port, Deadline(SAVE_LIMIT_S), partial(_saves.end, merchant_id))
    except SlowName:
        raise Busy(
            "The URL's name was not looked up in time. Try again in a moment.",
            retry_after_s=SAVE_AGAIN_S,
        ) from None
    except NameFault as fault:
        raise _refusal(f"can't be reached: {fault.detail}") from None


def _parts(url: str, allow_private: bool) -> tuple[str, int]:
    """Host and port of a URL in good form."""
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        raise _refusal("must be at most 2048 printable ASCII characters, no blank, no backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refusal("is not a URL") from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes:
        raise _refusal(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.netloc:
        raise _refusal("must have no user or password in it")
    if "#" in url:
        raise _refusal("must have no fragment")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    if port == 0 or (not allow_private and port != 443 and port < LOWEST_HIGH_PORT):
        raise _refusal("must use port 443, or one from 1024 up")
    host = parts.hostname or ""
    form = _HOST_V6 if "[" in parts.netloc else _HOST
    if not form.fullmatch(host) or len(host) > MAX_HOST:
        raise _refusal("must have a host name in ASCII (a name in another script as xn--...)")
    return host, port


def _refusal(why: str) -> InvalidRequest:
    return InvalidRequest(Fault("/url", why))
