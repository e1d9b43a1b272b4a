"""What a caller does about each refusal: the second half of its entry on `/docs/errors`."""

ADVICE: dict[str, str] = {
    "malformed_json": "Send one JSON object in UTF-8; an action without fields takes `{}`.",
    "idempotency_key_required": "Make a key for this intent, such as a UUID, keep it, and send it"
    " in `Idempotency-Key` with every try.",
    "idempotency_key_invalid": "Use a shorter key of plain characters, such as a UUID.",
    "unauthenticated": "`WWW-Authenticate` names what this call wants. A token or key of another"
    " installation is as good as none.",
    "token_expired": "Fetch a new access token with `POST /v1/auth/refresh`; an API key that has"
    " expired has to be replaced by a new one.",
    "key_revoked": "Sign in again, or use the API key that replaced this one.",
    "invalid_code": "Ask the customer to look again; after five tries or five minutes request a new"
    " code with `POST /v1/auth/otp`.",
    "replayed_request": "Sign anew, with a fresh nonce and timestamp and the same"
    " `Idempotency-Key`.",
    "insufficient_funds": "The customer adds funds or picks a smaller amount, then confirms again.",
    "merchant_balance_insufficient": "Try again once the merchant has taken more, or refund less."
    " The refund is not queued.",
    "forbidden": "Use the credential of the kind of caller that the call names.",
    "scope_missing": "Make an API key with the scope that `detail` names.",
    "limit_exceeded": "`detail` names the limit: wait until the period is over or an application is"
    " approved, use a smaller amount, or raise the customer's verification level.",
    "wallet_frozen": "The owner asks support. The wallet still receives.",
    "merchant_not_approved": "Wait for the event `merchant.approved`.",
    "merchant_suspended": "What was begun can be captured, canceled and refunded; for the rest ask"
    " support.",
    "second_operator_needed": "Another operator, by another name, approves it.",
    "not_found": "Check the id and whose credential you used; a URL that does not exist answers the"
    " same.",
    "method_not_allowed": "`Allow` lists the methods of this URL.",
    "invalid_state": "Read the object again and act on its `status`.",
    "request_in_progress": "Wait for `Retry-After` and send the same request with the same key.",
    "reference_conflict": "Take a new reference for new facts, or repeat the first ones exactly.",
    "amount_changed": "Show the payer the present amount and ask again.",
    "body_too_large": "Send less; `metadata` takes 16 KiB.",
    "unsupported_media_type": "Set `Content-Type: application/json`.",
    "invalid_request": "Mend each entry of `errors`: its `pointer` says where. A new body under the"
    " same `Idempotency-Key` is fine, since nothing was done.",
    "idempotency_key_reused": "Take a new key for a new intent. If it was meant to be the same one,"
    " send exactly what you sent first.",
    "amount_exceeds_refundable": "Read the payment's `amount_captured` and `amount_refunded`.",
    "amount_exceeds_authorized": "Capture at most the payment's `amount`.",
    "invalid_cursor": "Begin the list again without a cursor, and keep the filters while you page.",
    "code_used": "Ask the customer to show a new code.",
    "rate_limited": "Wait for `Retry-After` seconds. `RateLimit` on each answer says what is left.",
    "internal_error": "Try again later with the same `Idempotency-Key`, and tell us the"
    " `request_id`.",
    "read_only": "Try again later with the same `Idempotency-Key`.",
    "busy": "Wait for `Retry-After` and try again with the same `Idempotency-Key`.",
}
