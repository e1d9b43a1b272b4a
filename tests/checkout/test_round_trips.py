"""A confirm is few round trips: Python's time for each is what limits payments."""

import psycopg
import pytest

from payments.drivers import postgres
from tests.checkout import callers, world
from tests.checkout.callers import told

NEW = {"amount": 1_00, "currency": "EUR"}


@pytest.fixture
def trips(monkeypatch) -> list[str]:
    """Every statement that goes to Postgres from now on; it all still goes there."""
    made: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(cursor, query, *more, **options):
        made.append(str(query))
        return execute(cursor, query, *more, **options)

    send = postgres._send

    def sent(connection, text):
        made.append(text)
        return send(connection, text)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    monkeypatch.setattr(postgres, "_send", sent)
    return made


def test_a_confirm_is_three_round_trips(postgres_app, postgres_shop, postgres_payer, trips):
    client = postgres_app.test_client()
    merchant = callers.with_key(client, postgres_shop)
    customer = callers.signed_in(client, postgres_payer)
    asked = [told(merchant.post("/v1/payments", NEW), 201)["id"] for _ in range(2)]
    for payment_id in asked:
        trips.clear()
        told(customer.post(f"/v1/payments/{payment_id}/confirm"))
    opening, money, ending = trips
    assert [part in opening for part in ("BEGIN", "session_stands", "claim_key")] == [True] * 3
    assert ["UPDATE payments" in money, "post_entry" in money] == [True, True]
    assert [part in ending for part in ("record_event", "keep_answer", "COMMIT")] == [
        True,
        True,
        True,
    ]
    assert world.purse(postgres_payer) == (98_00, 0)
