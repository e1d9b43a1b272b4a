"""The first sign-in makes a customer and a wallet, once, whoever else makes them meanwhile."""

from functools import partial

from payments import db
from payments.customers import profiles
from tests.customers import people


def test_the_first_sign_in_makes_customer_and_wallet(app, person):
    assert people.run(app, "SELECT id FROM customers") == []
    person.signs_in()
    me = person.calls("GET", "/v1/me")
    assert me.status_code == 200
    assert me.json | {"id": "", "created_at": ""} == {
        "object": "customer",
        "id": "",
        "status": "active",
        "version": 2,
        "phone": person.phone,
        "name": None,
        "created_at": "",
    }
    wallets = person.calls("GET", "/v1/wallets").json["data"]
    assert [(w["currency"], w["balance"], w["held"], w["available"]) for w in wallets] == [
        ("EUR", 0, 0, 0)
    ]


def test_the_second_sign_in_finds_them(app, person):
    person.signs_in()
    me, wallet = person.calls("GET", "/v1/me").json, person.wallet()
    person.tokens = {}
    person.signs_in()
    assert (person.calls("GET", "/v1/me").json, person.wallet()) == (me, wallet)
    assert people.run(app, "SELECT count(*) AS n FROM sessions")[0].n == 2


def test_the_default_currency_is_the_first_wallets(make_app, settings):
    app = make_app(DEFAULT_CURRENCY="SYP")
    person = people.Person(app.test_client(), settings.instance_dir / "sms.log")
    person.signs_in()
    assert person.wallet()["currency"] == "SYP"


def test_a_customer_who_was_paid_before_signing_in_is_the_same_one(app, person):
    with app.app_context():
        row = db.in_unit(lambda: profiles.get_or_create(person.phone))
        assert row.signed_in_at is None
    person.signs_in()
    assert person.calls("GET", "/v1/me").json["id"] == row.id
    with app.app_context():
        assert profiles.get(row.id).signed_in_at is not None


def test_made_at_once_there_is_one_customer_with_one_wallet(app, person):
    def deposited() -> str:
        with app.app_context():
            return str(db.in_unit(lambda: profiles.get_or_create(person.phone)).id)

    challenge_id, code = person.challenge()
    signed_in = partial(person.tries, challenge_id, code)
    first, *others = people.at_once([signed_in, *[deposited] * 5])
    assert first.status_code == 200
    (customer,) = people.run(app, "SELECT id FROM customers")
    assert set(others) == {customer.id}
    assert people.run(app, "SELECT count(*) AS n FROM accounts")[0].n == 1


def test_a_name_is_given_and_taken_away(customer):
    named = customer.calls("PATCH", "/v1/me", {"name": "Ada Lovelace"})
    assert (named.status_code, named.json["name"]) == (200, "Ada Lovelace")
    assert named.json["version"] == 3
    assert customer.calls("GET", "/v1/me").json == named.json
    assert customer.calls("PATCH", "/v1/me", {"name": None}).json["name"] is None


def test_a_name_that_is_none_changes_nothing(customer):
    before = customer.calls("GET", "/v1/me").json
    for body in ({}, {"name": ""}, {"name": "  "}, {"name": 7}, {"name": "a\nb"}, {"phone": "1"}):
        refused = customer.calls("PATCH", "/v1/me", body)
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    assert customer.calls("GET", "/v1/me").json == before


def test_a_profile_that_did_not_change_is_not_sent_again(customer):
    tag = customer.calls("GET", "/v1/me").headers["ETag"]
    assert customer.calls("GET", "/v1/me", If_None_Match=tag).status_code == 304
    customer.calls("PATCH", "/v1/me", {"name": "Ada"})
    assert customer.calls("GET", "/v1/me", If_None_Match=tag).status_code == 200
