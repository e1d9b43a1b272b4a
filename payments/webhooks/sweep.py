"""The clock's part: what is due is found whatever nudges were lost; strays are put in order."""

from payments import db
from payments.db import Sql
from payments.events import nudges, outbox
from payments.webhooks import claims, drain

RUN_S = 5.0
"""How long a sweep sends by itself, where no worker hears a nudge."""

# An event that was being recorded while its endpoint was disabled did not see that.
_STRAYS = (
    "FROM deliveries WHERE status = 'pending' AND endpoint_id IN"
    " (SELECT id FROM webhook_endpoints WHERE status <> 'enabled')"
)
_IS_ASTRAY = Sql(f"SELECT 1 {_STRAYS} LIMIT 1")
_CANCEL = Sql(
    "UPDATE deliveries SET status = 'canceled', next_attempt_at = NULL, lease_until = NULL,"
    " lease_token = NULL, ended_at = :now, version = version + 1"
    f" WHERE id IN (SELECT id {_STRAYS} LIMIT :limit)"
)
CANCELED_AT_ONCE, CANCELED_IN_ALL = 1_000, 20_000
"""Strays of one unit, and of one sweep."""


def run() -> None:
    """Nudge for what is due; send it from here when no worker can hear that.

    Safe to run twice, and in two processes at once: sending is by leases.
    """
    if claims.is_any_ready() and not nudges.nudge():
        drain.run(RUN_S)
    _cancel_strays()


def _cancel_some() -> int:
    canceled = _CANCEL.run(limit=CANCELED_AT_ONCE)
    outbox.DELIVERIES.grow(canceled, outcome="canceled")
    return canceled


def _cancel_strays() -> None:
    """After what is due was told of, and in small units: there may be days' worth of them."""
    if _IS_ASTRAY.one() is None:
        return
    done = 0
    while done < CANCELED_IN_ALL:
        canceled = db.in_unit(_cancel_some)
        if canceled < CANCELED_AT_ONCE:
            return
        done += canceled
