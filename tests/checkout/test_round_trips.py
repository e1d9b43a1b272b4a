"""A confirm is few round trips: Python's time for each is what limits payments."""

import psycopg
import pytest

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

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    return made


def test_between_key_and_answer_a_confirm_is_three_round_trips(
    postgres_app, postgres_shop, postgres_payer, trips
):
    client = postgres_app.test_client()
    merchant = callers.with_key(client, postgres_shop)
    customer = callers.signed_in(client, postgres_payer)
    asked = [told(merchant.post("/v1/payments", NEW), 201)["id"] for _ in range(2)]
    for payment_id in asked:
        trips.clear()
        told(customer.post(f"/v1/payments/{payment_id}/confirm"))
    begun = next(place for place, text in enumerate(trips) if "claim_key" in text) + 1
    ours = trips[begun : begun + 3]
    assert ["UPDATE payments" in ours[0], "INTO events" in ours[1], "post_entry" in ours[2]] == [
        True,
        True,
        True,
    ]
    # Before: whether the session stands, the begin with its time, the key. After: the answer
    # is stored, the commit.
    assert len(trips) <= 8
    assert "UPDATE idempotency_keys" in trips[begun + 3]
    assert world.purse(postgres_payer) == (98_00, 0)
