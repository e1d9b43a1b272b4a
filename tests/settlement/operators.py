"""Two operators, Ann and Bob, on one service."""

from typing import Any

from flask.testing import FlaskClient

from tests.merchants.callers import Caller

TOKENS = {name: f"{name}-token-" + "0123456789abcdef" * 2 for name in ("ann", "bob")}
SETTINGS = {"ADMIN_TOKEN": ",".join(f"{name}:{token}" for name, token in TOKENS.items())}


def named(client: FlaskClient, name: str) -> Caller:
    """The operator of that name."""
    return Caller(client, **{"X-Admin-Token": TOKENS[name]})


def steps(oncall: Caller, subject: str) -> list[tuple[str, str, str]]:
    """What the trail has of it, oldest first: who, what, how it ended."""
    lines: list[dict[str, Any]] = oncall.get("/admin/audit", subject=subject).json["data"][::-1]  # type: ignore[index]
    return [(line["actor"], line["action"], line["outcome"]) for line in lines]
