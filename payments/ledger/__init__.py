"""The ledger: accounts, entries and postings, holds. The only room that writes a balance."""

from payments.ledger import models

__all__ = ["models"]
