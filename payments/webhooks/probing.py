"""How far one gets on the way to a URL: name, addresses, TLS, an answer. It knows no database.

The same guard, deadline and connections as for what is sent; redirects are not followed. Nothing is
delivered: the request is a HEAD without a signature, and any HTTP answer to it is an answer.
"""

import _ssl
import http.client
import ssl
from time import perf_counter
from typing import Any

from cryptography import x509

from payments.clock import to_rfc3339
from payments.webhooks import connections, names, sender, targets
from payments.webhooks.connections import Connection, Exchange, Origin
from payments.webhooks.faults import AttemptFault, Blocked, ConnectFault, Deadline
from payments.webhooks.names import Place

TRIED = 8
"""Addresses of a name that are connected to."""
MAX_CHAIN, MAX_NAMES, MAX_TEXT = 10, 20, 255
HEADERS = {"User-Agent": "Payments-Check/1", "Connection": "close"}


def probe(
    url: str, *, timeout_s: float, allow_private: bool, ca_file: str | None = None
) -> dict[str, Any]:
    """What was found. Nothing is raised: every ending is a finding.

    timeout_s: for all of it. `outcome`: `success` where an HTTP answer came, else what an attempt
    would have ended with (`faults.OUTCOMES`), with `detail` in words. `lookup_ms`; `addresses`,
    each with `connect_ms` or why there is no connection; `tls`: verified, version, the chain as it
    was sent, null without TLS or before it; `answer`: status and `answer_ms`.
    """
    found = nothing()
    try:
        _Way(url, Deadline(timeout_s), allow_private, ca_file, found).go()
    except AttemptFault as fault:
        found |= {"outcome": fault.outcome, "detail": fault.detail}
    except (http.client.HTTPException, OSError) as broken:
        found |= {"outcome": "connect", "detail": sender.words(broken)}
    return found


def nothing() -> dict[str, Any]:
    """What is found before the first step."""
    return {
        "outcome": "success", "detail": None,
        "lookup_ms": None, "addresses": [], "tls": None, "answer": None,
    }  # fmt: skip


class _Way:
    """The steps of one probe; each writes what it found, and raises where one gets no further."""

    def __init__(
        self,
        url: str,
        deadline: Deadline,
        allow_private: bool,
        ca_file: str | None,
        found: dict[str, Any],
    ) -> None:
        self._path = sender.path_of(url)
        self._origin: Origin = connections.origin_of(url)
        self._deadline, self._allow_private = deadline, allow_private
        self._ca_file, self._found = ca_file, found

    def go(self) -> None:
        """To the end."""
        places = self._look_up()
        self._connect(places)
        if self._origin[0] == "https":
            self._read_chain()
        self._ask()

    def _look_up(self) -> list[Place]:
        begun = perf_counter()
        places = names.lookup(self._origin[1], self._origin[2], self._deadline)
        self._found["lookup_ms"] = _ms(begun)
        self._found["addresses"] = [
            {
                "address": str(place.address),
                "public": targets.is_public(place.address),
                "connect_ms": None,
                "detail": None,
            }
            for place in places
        ]
        if not self._allow_private:
            for shown in self._found["addresses"]:
                if not shown["public"]:
                    raise Blocked(f"{shown['address']} is not a public address")
        return places

    def _connect(self, places: list[Place]) -> None:
        """To each address, so that one which is dead among others is seen."""
        tried = list(zip(places, self._found["addresses"], strict=True))[:TRIED]
        for index, (place, shown) in enumerate(tried):
            # As much is left for TLS and the answer as for two addresses.
            share, begun = self._deadline.left() / (len(tried) - index + 2), perf_counter()
            try:
                connections.connect_to(place, Exchange(self._deadline), share).close()
                shown["connect_ms"] = _ms(begun)
            except TimeoutError:
                shown["detail"] = f"no connection within {share:.1f} s"
            except OSError as refused:
                shown["detail"] = f"no connection: {refused.strerror or refused}"
        if all(shown["connect_ms"] is None for _place, shown in tried):
            raise ConnectFault("no address of the name can be connected to")

    def _read_chain(self) -> None:
        """By a handshake that believes anything and says nothing more: a bad chain is shown too."""
        unbelieving = connections.tls_context(self._ca_file)
        unbelieving.check_hostname = False
        unbelieving.verify_mode = ssl.CERT_NONE
        shown = self._found["tls"] = {"verified": False, "version": None, "chain": []}
        connection = self._connection(unbelieving)
        try:
            connection.connect()
            shown["version"] = connection.sock.version()
            shown["chain"] = [certificate(der) for der in chain_of(connection.sock)[:MAX_CHAIN]]
        finally:
            connection.close()

    def _ask(self) -> None:
        connection = self._connection(connections.tls_context(self._ca_file))
        try:
            connection.connect()
            if self._found["tls"] is not None:
                self._found["tls"]["verified"] = True
            begun = perf_counter()
            connection.request("HEAD", self._path, headers=HEADERS)
            status = connection.getresponse().status
            if not connection.exchange.head_whole:
                raise ConnectFault("the connection was closed in the middle of the answer's head")
            self._found["answer"] = {"status": status, "answer_ms": _ms(begun)}
        finally:
            connection.close()

    def _connection(self, tls: ssl.SSLContext) -> Connection:
        connection = Connection(self._origin, allow_private=self._allow_private, tls=tls)
        connection.begin(Exchange(self._deadline))
        return connection


def chain_of(sock: Any) -> list[bytes]:
    """The certificates as the other side sent them, DER, its own first."""
    if hasattr(sock, "get_unverified_chain"):  # Python 3.13 and newer
        return list(sock.get_unverified_chain())
    sent = sock._sslobj.get_unverified_chain() or []
    return [one.public_bytes(_ssl.ENCODING_DER) for one in sent]


def certificate(der: bytes) -> dict[str, Any]:
    """Of a certificate what people ask for; nulls where it can't be read."""
    shown: dict[str, Any] = dict.fromkeys(("subject", "issuer", "not_before", "not_after", "names"))
    try:
        read = x509.load_der_x509_certificate(der)
        shown["subject"] = read.subject.rfc4514_string()[:MAX_TEXT]
        shown["issuer"] = read.issuer.rfc4514_string()[:MAX_TEXT]
        shown["not_before"] = to_rfc3339(read.not_valid_before_utc)
        shown["not_after"] = to_rfc3339(read.not_valid_after_utc)
        said = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        shown["names"] = [str(one.value)[:MAX_TEXT] for one in list(said)[:MAX_NAMES]]
    except (ValueError, x509.ExtensionNotFound):
        return shown
    return shown


def _ms(begun: float) -> int:
    return round((perf_counter() - begun) * 1000)
