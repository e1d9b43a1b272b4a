"""How an attempt can end, and the one deadline that all of it shares."""

import time

OUTCOMES = (
    "success",
    "http_3xx",
    "http_4xx",
    "http_5xx",
    "timeout",
    "dns",
    "tls",
    "connect",
    "blocked",
    "lost",
)


class AttemptFault(Exception):
    """The exchange came to no answer. outcome: one of OUTCOMES; the text says it in words."""

    outcome = "connect"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConnectFault(AttemptFault):
    """No connection, one that broke, or an answer that is not HTTP."""


class TimedOut(AttemptFault):
    """The deadline passed before the last byte."""

    outcome = "timeout"


class NameFault(AttemptFault):
    """The name did not resolve."""

    outcome = "dns"


class SlowName(NameFault):
    """Not in time, or too many are being looked up: whether it resolves is not known."""


class TlsFault(AttemptFault):
    """No TLS session, or a certificate that does not hold for the name."""

    outcome = "tls"


class Blocked(AttemptFault):
    """The name resolves to an address that webhooks must not reach. Nothing was sent."""

    outcome = "blocked"


class Deadline:
    """A moment by the monotonic clock, so many seconds after its making."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, more than 0. Raises TimedOut when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimedOut(f"no complete answer within {self.seconds:g} s")
        return left
