"""What the ledger should do, in plain Python: the model that both databases are held against."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Lines = Mapping[str, int]


@dataclass
class Purse:
    """An account as it should be. place: in the order of locks."""

    place: int
    kind: str
    currency: str
    floor: int | None
    balance: int = 0
    held: int = 0
    frozen: bool = False

    @property
    def available(self) -> int:
        """What may leave it."""
        return self.balance - self.held - (self.floor or 0)


@dataclass
class Held:
    """A hold as it should be."""

    account: str
    amount: int
    status: str = "held"


@dataclass
class Model:
    """Accounts and holds by name, and what each step should end with."""

    purses: dict[str, Purse] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)

    def judge(self, gains: Lines) -> str:
        """The refusal of the first account that has to give and may not or can't, or `done`."""
        for name in sorted(gains, key=lambda name: self.purses[name].place):
            purse = self.purses[name]
            if gains[name] >= 0 or purse.floor is None:
                continue
            if purse.frozen:
                return "WalletFrozen"
            if purse.available + gains[name] < 0:
                merchant = purse.kind == "merchant"
                return "MerchantBalanceInsufficient" if merchant else "InsufficientFunds"
        return "done"

    def post(self, lines: Lines, *, free: Lines | None = None) -> str:
        """Move it, or say why not. free: what a hold that this uses up gives free."""
        kept = {name: amount for name, amount in lines.items() if amount}
        if not kept.keys() <= self.purses.keys():
            return "ValueError"
        sums: dict[str, int] = {}
        for name, amount in kept.items():
            currency = self.purses[name].currency
            sums[currency] = sums.get(currency, 0) + amount
        if len(kept) < 2 or any(sums.values()):
            return "ValueError"
        free = free or {}
        ended = self.judge({name: amount + free.get(name, 0) for name, amount in kept.items()})
        if ended == "done":
            for name, amount in kept.items():
                self.purses[name].balance += amount
                self.purses[name].held -= free.get(name, 0)
        return ended

    def place(self, account: str, amount: int, *, hold: str) -> str:
        """Set it aside."""
        ended = self.judge({account: -amount})
        if ended == "done":
            self.purses[account].held += amount
            self.holds[hold] = Held(account, amount)
        return ended

    def capture(self, hold: str, lines: Lines) -> str:
        """Take of the hold."""
        held = self.holds[hold]
        if held.status != "held":
            return "InvalidState"
        if not 0 < -lines.get(held.account, 0) <= held.amount:
            return "ValueError"
        ended = self.post(lines, free={held.account: held.amount})
        if ended == "done":
            held.status = "captured"
        return ended

    def release(self, hold: str, status: str) -> str:
        """Give it back."""
        held = self.holds[hold]
        if held.status != "held":
            return "InvalidState"
        held.status = status
        self.purses[held.account].held -= held.amount
        return "done"
