"""Merchants and their API keys. For other rooms: `applications.require_open` and `account_of`."""
