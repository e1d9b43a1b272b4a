"""People with phones: they ask for codes, read them where they arrive, and sign in, over HTTP."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from payments import db, ids
from payments.customers import profiles
from payments.db import Sql
from payments.ledger import accounts, posting

PHONE = "+4915112345678"


class Person:
    """Somebody with a phone. log: where messages arrive. address: where they call from."""

    def __init__(
        self, client: FlaskClient, log: Path, phone: str = PHONE, address: str = "192.0.2.1"
    ) -> None:
        self.client = client
        self.phone = phone
        self.address = address
        self.tokens: dict[str, Any] = {}
        self._log = log

    def calls(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> Any:
        """One call, as whoever they are by now."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.tokens:
            sent.setdefault("Authorization", f"Bearer {self.tokens['access_token']}")
        if key is not None:
            sent["Idempotency-Key"] = key
        return self.client.open(
            path, method=method, json=body, headers=sent, environ_base={"REMOTE_ADDR": self.address}
        )

    def messages(self) -> list[str]:
        """The codes that this phone received, in order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.split()[2] for line in lines if line.split()[1] == self.phone]

    def asks(self, *, key: str | None = None) -> Any:
        """Ask for a code."""
        return self.calls("POST", "/v1/auth/otp", {"phone": self.phone}, key=key)

    def challenge(self) -> tuple[str, str]:
        """Ask for a code and read it: the challenge's id, and the code."""
        asked = self.asks()
        assert asked.status_code == 202, asked.text
        return asked.json["challenge_id"], self.messages()[-1]

    def tries(self, challenge_id: str, code: str, *, key: str | None = None) -> Any:
        """Try a code."""
        return self.calls(
            "POST", "/v1/auth/token", {"challenge_id": challenge_id, "code": code}, key=key
        )

    def signs_in(self) -> dict[str, Any]:
        """Sign in, and be that from now on. Gives the tokens."""
        answer = self.tries(*self.challenge())
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json
        return self.tokens

    def refreshes(self, token: str | None = None, *, key: str | None = None) -> Any:
        """Show a refresh token: the one they have, or another."""
        shown = token or self.tokens["refresh_token"]
        return self.calls("POST", "/v1/auth/refresh", {"refresh_token": shown}, key=key)

    def wallet(self) -> dict[str, Any]:
        """Their first wallet."""
        return self.calls("GET", "/v1/wallets").json["data"][0]


def other_code(code: str, by: int = 1) -> str:
    """A wrong code."""
    return f"{(int(code) + by) % 10**6:06d}"


def at_once(works: Iterable[Callable[[], Any]]) -> list[Any]:
    """All of them in threads of their own."""
    todo = list(works)
    with ThreadPoolExecutor(len(todo)) as pool:
        return [future.result() for future in [pool.submit(work) for work in todo]]


def run(app: Flask, statement: str, **binds: Any) -> list[Any]:
    """A statement of the test's own, committed; its rows."""
    with app.app_context(), db.unit_of_work():
        return Sql(statement).all(**binds)


def set_back(
    app: Flask, table: str, column: str, seconds: float, where: str = "1 = 1", key: str = "id"
) -> None:
    """Let a time of some rows lie that much earlier, as if so much time had passed."""
    with app.app_context(), db.unit_of_work():
        found = Sql(f"SELECT {key} AS id, {column} AS moved_at FROM {table} WHERE {where}").all()
        for row in found:
            Sql(f"UPDATE {table} SET {column} = :at WHERE {key} = :id").run(
                id=row.id, at=row.moved_at - timedelta(seconds=seconds)
            )


def wallet_of(app: Flask, phone: str) -> str:
    """The id of somebody's first wallet, who need not have signed in."""
    with app.app_context(), db.unit_of_work():
        found = profiles.wallet_of(profiles.get_or_create(phone).id, "EUR")
        assert found is not None
        return str(found.id)


def deposit(app: Flask, wallet_id: str, amount: int, kind: str = "deposit") -> None:
    """Money from outside, in EUR."""
    with app.app_context(), db.unit_of_work():
        outside = accounts.ensure_system("external:taxi", "EUR")
        posting.post(kind, ids.new("dep"), {outside: -amount, wallet_id: amount})
