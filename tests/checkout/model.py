"""What payments and wallets should do, in plain Python: the model that the machine runs beside."""

from dataclasses import dataclass, field
from fractions import Fraction

from payments.errors import (
    AmountExceedsAuthorized,
    AmountExceedsRefundable,
    InsufficientFunds,
    InvalidState,
    MerchantBalanceInsufficient,
    MerchantSuspended,
    NotFound,
    PaymentsError,
    WalletFrozen,
)

FEE_BPS, FEE_FIXED = 333, 7

Refusal = type[PaymentsError] | None
Purse = tuple[str, str]
"""Whose and in which currency."""


@dataclass
class Asked:
    """A payment as it should be."""

    shop: str
    amount: int
    currency: str
    capture: str
    asks: str | None
    status: str = "pending"
    payer: str | None = None
    captured: int = 0
    fee: int = 0
    refunded: int = 0
    fee_refunded: int = 0
    told: list[str] = field(default_factory=lambda: ["payment.created"])

    @property
    def left(self) -> int:
        """What may still be refunded."""
        return self.captured - self.refunded

    def becomes(self, status: str) -> None:
        """A transition, which is told."""
        self.status = status
        self.told.append(f"payment.{status}")


class Model:
    """Balances, holds and payments. Each step says how it must be refused, or takes effect."""

    def __init__(self) -> None:
        self.balance: dict[Purse, int] = {}
        self.held: dict[Purse, int] = {}
        self.fees: dict[str, int] = {}
        self.payments: dict[str, Asked] = {}
        self.over: set[str] = set()
        self.frozen: set[Purse] = set()
        self.suspended: set[str] = set()

    def status(self, id: str) -> str:
        """The status that is shown: over is over, recorded or not."""
        found = self.payments[id]
        live = found.status in ("pending", "authorized")
        return "expired" if live and id in self.over else found.status

    def free(self, purse: Purse) -> int:
        """What may be spent."""
        return self.balance.get(purse, 0) - self.held.get(purse, 0)

    def deposit(self, purse: Purse, amount: int) -> None:
        """Money from outside."""
        self.balance[purse] = self.balance.get(purse, 0) + amount

    def transfer(self, giver: Purse, taker: Purse, amount: int) -> Refusal:
        """From wallet to wallet."""
        refusal = self._debit(giver, amount)
        if refusal is None:
            self.balance[giver] -= amount
            self.balance[taker] += amount
        return refusal

    def _debit(self, purse: Purse, amount: int) -> Refusal:
        # A freeze counts only where there is a wallet to freeze.
        if purse in self.frozen:
            return WalletFrozen
        return InsufficientFunds if self.free(purse) < amount else None

    def _for(self, customer: str, id: str) -> Refusal:
        found = self.payments[id]
        if found.asks not in (None, customer):
            return NotFound
        return InvalidState if self.status(id) != "pending" else None

    def confirm(self, customer: str, id: str) -> Refusal:
        """The customer pays."""
        found = self.payments[id]
        purse = (customer, found.currency)
        refusal = self._for(customer, id)
        if refusal is None and found.shop in self.suspended:
            refusal = MerchantSuspended
        refusal = refusal or self._debit(purse, found.amount)
        if refusal is not None:
            return refusal
        found.payer = customer
        if found.capture == "manual":
            self.held[purse] = self.held.get(purse, 0) + found.amount
            found.becomes("authorized")
        else:
            self._take(found, found.amount)
        return None

    def _take(self, found: Asked, amount: int) -> None:
        fee = min(amount, round(Fraction(amount * FEE_BPS, 10_000) + FEE_FIXED))
        assert found.payer is not None
        self.balance[found.payer, found.currency] -= amount
        self.deposit((found.shop, found.currency), amount - fee)
        self.fees[found.currency] = self.fees.get(found.currency, 0) + fee
        found.captured, found.fee = amount, fee
        found.becomes("succeeded")

    def _release(self, found: Asked) -> None:
        assert found.payer is not None
        self.held[found.payer, found.currency] -= found.amount

    def decline(self, customer: str, id: str) -> Refusal:
        """The customer refuses."""
        refusal = self._for(customer, id)
        if refusal is None:
            self.payments[id].becomes("declined")
        return refusal

    def capture(self, shop: str, id: str, amount: int | None) -> Refusal:
        """The merchant takes what is held, or a part."""
        found = self.payments[id]
        if found.shop != shop:
            return NotFound
        if self.status(id) != "authorized":
            return InvalidState
        taken = found.amount if amount is None else amount
        if taken > found.amount:
            return AmountExceedsAuthorized
        self._release(found)
        self._take(found, taken)
        return None

    def cancel(self, shop: str, id: str) -> Refusal:
        """The merchant ends it."""
        found = self.payments[id]
        if found.shop != shop:
            return NotFound
        if self.status(id) not in ("pending", "authorized"):
            return InvalidState
        if found.status == "authorized":
            self._release(found)
        found.becomes("canceled")
        return None

    def refund(self, shop: str, id: str, amount: int | None) -> Refusal:
        """The merchant gives back."""
        found = self.payments[id]
        if found.shop != shop:
            return NotFound
        if self.status(id) != "succeeded":
            return InvalidState
        given = found.left if amount is None else amount
        if not 0 < given <= found.left:
            return AmountExceedsRefundable
        refunded = found.refunded + given
        fee_refunded = round(Fraction(found.fee * refunded, found.captured))
        back = fee_refunded - found.fee_refunded
        if self.free((shop, found.currency)) < given - back:
            return MerchantBalanceInsufficient
        assert found.payer is not None
        self.balance[found.payer, found.currency] += given
        self.balance[shop, found.currency] -= given - back
        self.fees[found.currency] -= back
        found.refunded, found.fee_refunded = refunded, fee_refunded
        return None

    def expire(self) -> int:
        """Record what is over. How many."""
        due = [id for id in self.over if self.payments[id].status in ("pending", "authorized")]
        for id in due:
            found = self.payments[id]
            if found.status == "authorized":
                self._release(found)
            found.becomes("expired")
        return len(due)
