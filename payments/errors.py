"""Every refusal the service knows, each with its stable code and HTTP status.

PaymentsError
├── 400  MalformedJson · IdempotencyKeyRequired · IdempotencyKeyInvalid
├── 401  Unauthenticated · TokenExpired · KeyRevoked · InvalidCode · ReplayedRequest
├── 402  InsufficientFunds · MerchantBalanceInsufficient
├── 403  Forbidden · ScopeMissing · LimitExceeded · WalletFrozen · MerchantNotApproved
│        MerchantSuspended · SecondOperatorNeeded
├── 404  NotFound          405  MethodNotAllowed
├── 409  InvalidState · RequestInProgress · ReferenceConflict · AmountChanged
├── 413  BodyTooLarge      415  UnsupportedMediaType
├── 422  InvalidRequest · IdempotencyKeyReused · AmountExceedsRefundable
│        AmountExceedsAuthorized · InvalidCursor · CodeUsed
├── 429  RateLimited
├── 500  InternalError
└── 503  ReadOnly · Busy

The class is the code; the message says what is wrong and what to do, and never echoes what was
sent. `api/problems.py` alone turns one into an answer (RFC 9457). Raised inside a unit of work, an
error rolls all of it back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a body or a query: a JSON pointer (RFC 6901) and what is wrong there."""

    pointer: str
    detail: str


class PaymentsError(Exception):
    """A refusal with an answer for the caller. Subclasses set `code`, `status` and `title`.

    consequence: what stays true although the call is refused (a reused token's family is revoked);
    the door runs it in a unit of work of its own, once the refused one is rolled back.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.faults: tuple[Fault, ...] = ()
        self.consequence: Callable[[], object] | None = None


class MalformedJson(PaymentsError):
    """The body is not JSON (RFC 8259)."""

    code, status, title = "malformed_json", 400, "Malformed JSON"


class IdempotencyKeyRequired(PaymentsError):
    """The call moves, promises or ends money and came without an `Idempotency-Key`."""

    code, status, title = "idempotency_key_required", 400, "Idempotency key required"


class IdempotencyKeyInvalid(PaymentsError):
    """The `Idempotency-Key` is not 1 to 255 printable ASCII characters."""

    code, status, title = "idempotency_key_invalid", 400, "Idempotency key invalid"


class Unauthenticated(PaymentsError):
    """No credential, or one that this service did not issue."""

    code, status, title = "unauthenticated", 401, "Not authenticated"


class TokenExpired(PaymentsError):
    """The credential was good once; its time is over."""

    code, status, title = "token_expired", 401, "Token expired"


class KeyRevoked(PaymentsError):
    """The API key, or the session behind the token, was revoked."""

    code, status, title = "key_revoked", 401, "Key revoked"


class InvalidCode(PaymentsError):
    """The one-time code is wrong, used, or out of tries or time."""

    code, status, title = "invalid_code", 401, "Invalid code"


class ReplayedRequest(PaymentsError):
    """A signed request whose nonce was seen before."""

    code, status, title = "replayed_request", 401, "Replayed request"


class InsufficientFunds(PaymentsError):
    """Available balance is below the amount. Nothing was posted.

    The balance stands in the message only for the wallet's owner: pass `available` to nobody else.
    """

    code, status, title = "insufficient_funds", 402, "Insufficient funds"

    def __init__(self, *, currency: str, needed: int, available: int | None = None) -> None:
        has = (
            f"The wallet has {available} {currency} minor units available; this needs {needed}."
            if available is not None
            else "The wallet's available balance is below the amount."
        )
        super().__init__(f"{has} Nothing was moved. Add funds, or use a smaller amount.")


class MerchantBalanceInsufficient(PaymentsError):
    """The merchant's balance does not cover the refund. Nothing was queued."""

    code, status, title = "merchant_balance_insufficient", 402, "Merchant balance insufficient"


class Forbidden(PaymentsError):
    """A known caller of the wrong kind."""

    code, status, title = "forbidden", 403, "Forbidden"


class ScopeMissing(PaymentsError):
    """The API key lacks the scope that this call needs."""

    code, status, title = "scope_missing", 403, "Scope missing"


class LimitExceeded(PaymentsError):
    """A limit on amounts or counts would be passed."""

    code, status, title = "limit_exceeded", 403, "Limit exceeded"


class WalletFrozen(PaymentsError):
    """A frozen wallet starts no debit."""

    code, status, title = "wallet_frozen", 403, "Wallet frozen"


class MerchantNotApproved(PaymentsError):
    """The merchant's application waits for an operator."""

    code, status, title = "merchant_not_approved", 403, "Merchant not approved"


class MerchantSuspended(PaymentsError):
    """A suspended merchant takes no new payment, link or payout."""

    code, status, title = "merchant_suspended", 403, "Merchant suspended"


class SecondOperatorNeeded(PaymentsError):
    """Who proposed a movement by hand may not approve it."""

    code, status, title = "second_operator_needed", 403, "Second operator needed"


class NotFound(PaymentsError):
    """It does not exist, or it is not the caller's: the answer is the same on purpose."""

    code, status, title = "not_found", 404, "Not found"

    def __init__(self, detail: str = "There is no such object, or it is not yours.") -> None:
        super().__init__(detail)


class MethodNotAllowed(PaymentsError):
    """The path exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class InvalidState(PaymentsError):
    """The object's status does not allow this; the message says which it is and what it allows."""

    code, status, title = "invalid_state", 409, "Invalid state"


class RequestInProgress(PaymentsError):
    """Another request with this idempotency key is still running."""

    code, status, title = "request_in_progress", 409, "Request in progress"


class ReferenceConflict(PaymentsError):
    """The reference was used before, with other facts."""

    code, status, title = "reference_conflict", 409, "Reference conflict"


class AmountChanged(PaymentsError):
    """What is asked differs from what the payer saw."""

    code, status, title = "amount_changed", 409, "Amount changed"


class BodyTooLarge(PaymentsError):
    """The body is over 64 KiB."""

    code, status, title = "body_too_large", 413, "Body too large"


class UnsupportedMediaType(PaymentsError):
    """The body is not declared as `application/json`."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class InvalidRequest(PaymentsError):
    """The input is well-formed and wrong; each fault is listed with its pointer."""

    code, status, title = "invalid_request", 422, "Invalid request"

    def __init__(self, *faults: Fault, detail: str | None = None) -> None:
        super().__init__(
            detail
            or "The request is not valid; `errors` lists what is wrong and where. Nothing was done."
        )
        self.faults = faults


class IdempotencyKeyReused(PaymentsError):
    """The key was used before for another method, path, query or body."""

    code, status, title = "idempotency_key_reused", 422, "Idempotency key reused"


class AmountExceedsRefundable(PaymentsError):
    """More than was captured and not yet refunded."""

    code, status, title = "amount_exceeds_refundable", 422, "Amount exceeds refundable"


class AmountExceedsAuthorized(PaymentsError):
    """More than was authorized."""

    code, status, title = "amount_exceeds_authorized", 422, "Amount exceeds authorized"


class InvalidCursor(PaymentsError):
    """The cursor is forged, foreign, or belongs to other filters."""

    code, status, title = "invalid_cursor", 422, "Invalid cursor"

    def __init__(self) -> None:
        super().__init__(
            "The cursor is not one this list gave for these filters. Start again without a cursor."
        )


class CodeUsed(PaymentsError):
    """A customer-presented code was used before."""

    code, status, title = "code_used", 422, "Code used"


class RateLimited(PaymentsError):
    """Too many requests, or too many one-time codes. `Retry-After` says when to come back."""

    code, status, title = "rate_limited", 429, "Rate limited"


class InternalError(PaymentsError):
    """A fault of ours. The request id finds it in the logs."""

    code, status, title = "internal_error", 500, "Internal error"


class ReadOnly(PaymentsError):
    """The service takes no writes just now; reads go on."""

    code, status, title = "read_only", 503, "Read only"


class Busy(PaymentsError):
    """The database did not answer in time. Nothing is known to have been done.

    Try again with the same idempotency key: it settles whether the first try took effect.
    """

    code, status, title = "busy", 503, "Busy"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(
            detail or "The service is busy. Try again in a moment, with the same Idempotency-Key.",
            retry_after_s=retry_after_s,
        )


def all_errors() -> list[type[PaymentsError]]:
    """Every refusal of this module, in the order of the tree above."""
    return list(PaymentsError.__subclasses__())
