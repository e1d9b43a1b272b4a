"""Customers: who they are, how they sign in, what their wallets are.

For the others: `phones.parse`; `profiles` (get, find_by_phone, get_or_create, wallet_of);
`sessions.still_stands` and `tokens.verify` for the door; `wallets`; `pruning.prune` for the clock.
"""
