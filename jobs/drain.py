"""The job that sends what is due. Nothing in: rows do the rest."""

from jobs.house import worker_app
from payments.webhooks import drain as room


def drain() -> None:
    """Send what is due, for a bounded time; nudge again if more is due.

    Safe to run twice and in many processes: a delivery is claimed under a lease, and a result
    counts only while its token is still the row's. One that is killed while sending leaves a lease
    that runs out; then another sends again, and the receiver sees the same X-Delivery-ID.
    """
    with worker_app().app_context():
        room.run()
