"""Payments and refunds: what merchants ask, what customers pay, what goes back.

For the rooms above and for `api/`: `payments` (create, confirm, pay, decline, capture, cancel),
`lookup` (by id, by code, lists), `refunds` (create, get, lists), `objects` (the API's view of
both), `codes` (what a payer types), `fees` (terms and rounding), `expiry.expire_due` for the clock.
"""
