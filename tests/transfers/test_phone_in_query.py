"""A phone in a query string, where a bare plus is a space."""

from tests.merchants.callers import pointers, told
from tests.transfers.people import ANN

FACTS = {"phone": ANN, "amount": 50_00, "currency": "EUR", "external_reference": "bank-17"}


def test_a_phone_in_a_query_says_how_its_plus_is_written(app, app_context, taxi):
    told(taxi.post("/internal/deposits", FACTS), 201)
    client = app.test_client()
    bare = client.get(f"/internal/wallets?phone={ANN}", headers=taxi.headers)
    assert pointers(bare) == ["/phone"]
    assert "%2B" in bare.json["errors"][0]["detail"]
    right = client.get(f"/internal/wallets?phone={ANN.replace('+', '%2B')}", headers=taxi.headers)
    assert len(told(right)["data"]) == 1
