"""The ledger: accounts, entries and postings, holds. The only room that writes a balance.

For the others: `posting.post` (`overdrafts.post` for an operator's), `holds` (place, capture,
release), `accounts` (open and read), `statements`, `folding` for the clock, `invariants`.
"""

from payments.ledger import models

__all__ = ["models"]
