"""A rotation of ENCRYPTION_KEY: everything sealed comes under the new key, while all runs on."""

import pytest
from cryptography.fernet import Fernet, InvalidToken
from prometheus_client import REGISTRY

from payments import db, sealing
from payments.db import Base, Sql
from payments.operations import resealing
from tests.checkout import world
from tests.customers.people import Person
from tests.databases import SECRETS
from tests.merchants.callers import told, with_key

OLD, NEW = SECRETS["ENCRYPTION_KEY"], Fernet.generate_key().decode()
HOOK = {"url": "http://127.0.0.1:9/hook", "events": ["*"]}
SEALED = {
    ("refresh_tokens", "successor_sealed"),
    ("webhook_endpoints", "secret_sealed"),
    ("webhook_endpoints", "old_secret_sealed"),
}


@pytest.fixture
def rotated(make_app, settings):
    """The service with the new key first, on what it sealed under the old one.

    Two endpoints, one in the overlap of its secrets; a customer who refreshed once.
    """
    before = make_app()
    client = before.test_client()
    with before.app_context():
        shop = with_key(client, world.merchant())
    made = [told(shop.post("/v1/webhook_endpoints", HOOK), 201) for _ in range(2)]
    turned = told(shop.post(f"/v1/webhook_endpoints/{made[0]['id']}/rotate_secret"))
    person = Person(client, settings.instance_dir / "sms.log")
    first = person.signs_in()["refresh_token"]
    second = person.refreshes().json["refresh_token"]
    app = make_app(ENCRYPTION_KEY=f"{NEW},{OLD}")
    app.extensions["tests_clear"] = sorted(
        [made[0]["secret"], turned["secret"], made[1]["secret"], second]
    )
    app.extensions["tests_refresh"] = (first, second)
    with app.app_context():
        yield app


def sealed() -> list[str]:
    """Every sealed text there is."""
    return [
        row.sealed
        for table, _, column in resealing.columns()
        for row in Sql(f"SELECT {column} AS sealed FROM {table} WHERE {column} IS NOT NULL").all()
    ]


def counts() -> tuple[int, int, int]:
    """Of all columns together: seen, sealed anew, not to be opened."""
    found = resealing.reseal()
    assert {(each.table, each.column) for each in found} >= SEALED
    return (
        sum(each.seen for each in found),
        sum(each.resealed for each in found),
        sum(len(each.unopened) for each in found),
    )


def test_everything_comes_under_the_first_key_and_says_the_same(rotated):
    assert counts() == (4, 4, 0)
    box = Fernet(NEW)
    opened = sorted(box.decrypt(text.encode()).decode() for text in sealed())
    assert opened == rotated.extensions["tests_clear"]


def test_again_it_changes_nothing(rotated):
    resealing.reseal()
    before = sealed()
    assert counts() == (4, 0, 0)
    assert sealed() == before


def test_what_the_old_key_opens_is_counted_until_it_is_resealed(rotated):
    def uses() -> float:
        name = "payments_old_secret_uses_total"
        return REGISTRY.get_sample_value(name, {"secret": "ENCRYPTION_KEY"}) or 0

    before = uses()
    assert sorted(map(sealing.unseal, sealed())) == rotated.extensions["tests_clear"]
    assert uses() - before == 4
    resealing.reseal()
    assert sorted(map(sealing.unseal, sealed())) == rotated.extensions["tests_clear"]
    assert uses() - before == 4


def test_batches_reach_the_last_row(rotated, monkeypatch):
    monkeypatch.setattr(resealing, "BATCH", 1)
    assert counts() == (4, 4, 0)


def test_what_no_key_opens_stays_and_is_named(rotated):
    foreign = Fernet(Fernet.generate_key()).encrypt(b"whsec").decode()
    endpoint = Sql("SELECT max(id) FROM webhook_endpoints").scalar()
    change = Sql("UPDATE webhook_endpoints SET secret_sealed = :sealed WHERE id = :id")
    world.did(lambda: change.run(id=endpoint, sealed=foreign))
    found = resealing.reseal()
    assert {(e.table, e.column): e.unopened for e in found if e.unopened} == {
        ("webhook_endpoints", "secret_sealed"): [endpoint]
    }
    assert sum(each.resealed for each in found) == 3
    assert foreign in sealed()


def test_what_changed_since_it_was_read_is_left_alone(rotated, monkeypatch):
    """A secret that is rotated between the read and the write is not put back."""
    secrets = Sql("SELECT DISTINCT secret_sealed FROM webhook_endpoints")
    read = {row.secret_sealed for row in secrets.all()}
    meanwhile = sealing.seal("whsec_meanwhile")
    change = Sql("UPDATE webhook_endpoints SET secret_sealed = :sealed")
    real = sealing.reseal

    def slowly(text: str) -> str:
        if text in read:
            world.did(lambda: change.run(sealed=meanwhile))
        return real(text)

    monkeypatch.setattr(sealing, "reseal", slowly)
    found = {(each.table, each.column): each for each in resealing.reseal()}
    secret = found["webhook_endpoints", "secret_sealed"]
    assert (secret.seen, secret.resealed) == (2, 0)
    assert [row.secret_sealed for row in secrets.all()] == [meanwhile]


def test_after_it_the_old_key_may_go_and_a_lost_answer_is_still_given_again(rotated, make_app):
    resealing.reseal()
    first, second = rotated.extensions["tests_refresh"]
    client = make_app(ENCRYPTION_KEY=NEW).test_client()
    again = client.post("/v1/auth/refresh", json={"refresh_token": first})
    assert (again.status_code, again.json["refresh_token"]) == (200, second)


def test_a_successor_that_no_key_opens_is_a_401_and_its_holder_stays_signed_in(rotated, make_app):
    first, second = rotated.extensions["tests_refresh"]
    client = make_app(ENCRYPTION_KEY=NEW).test_client()
    refused = client.post("/v1/auth/refresh", json={"refresh_token": first})
    assert (refused.status_code, refused.json["code"]) == (401, "unauthenticated")
    assert "Sign in with a new code" in refused.json["detail"]
    went_on = client.post("/v1/auth/refresh", json={"refresh_token": second})
    assert went_on.status_code == 200


def test_each_column_of_sealed_texts_is_found_by_its_name(rotated):
    assert {(table, column) for table, _, column in resealing.columns()} >= SEALED
    for table, key, column in resealing.columns():
        assert [c.name for c in Base.metadata.tables[table].primary_key] == [key]
        for row in Sql(f"SELECT {column} AS sealed FROM {table}").all():
            assert row.sealed is None or sealing.unseal(row.sealed)


def test_it_is_no_unit_of_its_own_callers(rotated):
    with pytest.raises(RuntimeError, match="a unit of work is open already"), db.unit_of_work():
        resealing.reseal()
    with pytest.raises(InvalidToken):
        Fernet(NEW).decrypt(sealed()[0].encode())
