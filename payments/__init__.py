"""A self-hosted payments service: wallets, merchants, payments, refunds and signed webhooks.

`app.py` wires the rooms, `api/` alone knows HTTP; an arrow between rooms points down, never up
(the contract stands in `pyproject.toml`).
"""

VERSION = "0.1.0"
