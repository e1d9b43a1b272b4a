"""Sign in by a one-time code: a proven phone becomes a session, the first time a customer."""

import logging

from payments.customers import otp, profiles, sessions
from payments.customers.sessions import Issued

log = logging.getLogger(__name__)


def sign_in(challenge_id: str, code: str, user_agent: str | None) -> Issued:
    """Use the code and start a session, after `otp.count_try` was committed.

    The first sign-in of a phone makes the customer and the wallet in `DEFAULT_CURRENCY`.
    Raises InvalidCode.
    """
    customer = profiles.get_or_create(otp.use(challenge_id, code))
    first = profiles.note_sign_in(customer.id)
    log.info("customer signed in", extra={"customer_id": customer.id, "first": first})
    return sessions.start(customer.id, user_agent)
