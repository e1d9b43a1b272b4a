"""The types of event that this release can emit. A type once published keeps its meaning."""

PING = "ping"
ENDPOINT_DISABLED = "webhook_endpoint.disabled"

EVENT_TYPES: dict[str, str] = {
    "payment.created": "A payment was created and waits for its customer.",
    "payment.authorized": "The customer confirmed; the amount is held until it is captured.",
    "payment.succeeded": "The payment was captured: the money is the merchant's.",
    "payment.canceled": "The merchant ended the payment before it was captured.",
    "payment.declined": "The customer refused the payment.",
    "payment.expired": "The payment's time passed; an amount that was held is released.",
    "refund.succeeded": "Money went back to the payer.",
    "transfer.succeeded": "Money moved from one customer to another.",
    "payout.created": "An operator proposed a payout; nothing has been paid yet.",
    "payout.paid": "The payout was approved: the money left the merchant's balance for its bank.",
    "merchant.approved": "An operator let the merchant take payments, for the first time or again.",
    "merchant.suspended": "The merchant takes no new payment until an operator allows it again.",
    ENDPOINT_DISABLED: "An endpoint is no longer sent to; `disabled_reason` says why.",
    PING: "Asked for by `POST /v1/webhook_endpoints/{id}/test`, and sent to that endpoint alone.",
}
"""Type to what it says. Endpoints subscribe to these names, or to `*`."""
