"""A sister service's name is part of who it is: a restart that changes it pays nothing twice."""

import pytest

from payments.db import Sql
from tests.checkout import world
from tests.merchants.callers import refused, told
from tests.transfers import people
from tests.transfers.people import ANN
from tests.transfers.test_signed import deposit, headers_for

FACTS = {"phone": ANN, "amount": 50_00, "currency": "EUR", "external_reference": "bank-17"}
SECRET, NEXT = "s" * 20 + "0123456789abcdef", "n" * 20 + "0123456789abcdef"


@pytest.fixture
def restarted(make_app):
    """`restarted("taxi:...")`: the service after a restart with this list, on one database."""
    return lambda names: make_app(INTERNAL_API_SECRET=names, RATE_LIMIT_PER_MINUTE="10000")


def deposits(app, *, key: str, secret: str = SECRET):
    return people.service(app, secret).post("/internal/deposits", FACTS, key=key)


@pytest.mark.parametrize("name", ["taxi", "Default"])
def test_a_retry_across_a_renaming_is_not_taken_and_pays_nothing(restarted, name, caplog):
    told(deposits(restarted(SECRET), key="k-1"), 201)
    renamed = restarted(f"{name}:{SECRET}")
    for key in ("k-1", "k-2"):
        answer = deposits(renamed, key=key)
        assert refused(answer) == (503, "busy")
        assert int(answer.headers["Retry-After"]) > 0
    assert "a service's secret has another name than before" in caplog.text
    with renamed.app_context():
        assert people.purse(ANN) == 50_00
        world.sound()


def test_the_old_name_written_out_is_the_same_service(restarted):
    first = told(deposits(restarted(SECRET), key="k-1"), 201)
    named = restarted(f"default:{SECRET}")
    assert told(deposits(named, key="k-1"), 201) == first
    assert told(deposits(named, key="k-2"), 200) == first
    with named.app_context():
        assert people.purse(ANN) == 50_00


def test_a_signed_request_is_refused_the_same_way(restarted):
    app = restarted(f"taxi:{SECRET}")
    told(deposit(app, headers_for(FACTS, secret=SECRET)), 201)
    renamed = restarted(f"food:{SECRET}")
    assert refused(deposit(renamed, headers_for(FACTS, "k-2", secret=SECRET))) == (503, "busy")
    told(deposit(app, headers_for(FACTS, "k-2", secret=SECRET)), 200)


def test_a_rotation_under_one_name_refuses_nobody(restarted):
    first = told(deposits(restarted(f"taxi:{SECRET}"), key="k-1"), 201)
    both = restarted(f"taxi:{NEXT},taxi:{SECRET}")
    for secret in (SECRET, NEXT):
        assert told(deposits(both, key="k-1", secret=secret), 201) == first
    assert told(deposits(restarted(f"taxi:{NEXT}"), key="k-2", secret=NEXT), 200) == first


def test_a_new_secret_under_a_new_name_is_a_new_service_by_decision(restarted):
    told(deposits(restarted(SECRET), key="k-1"), 201)
    both = restarted(f"default:{SECRET},taxi:{NEXT}")
    told(deposits(both, key="k-1", secret=NEXT), 201)
    with both.app_context():
        assert people.purse(ANN) == 100_00


def test_the_name_is_kept_at_the_first_use_and_the_secret_nowhere(restarted):
    app = restarted(f"taxi:{SECRET}")
    told(people.service(app, SECRET).get("/internal/deposits"))
    with app.app_context():
        (row,) = Sql("SELECT * FROM service_secrets").all()
    assert row.name == "taxi"
    assert SECRET not in "".join(str(column) for column in row)


def test_read_only_serves_a_secret_not_seen_before_and_keeps_no_name(make_app):
    app = make_app(INTERNAL_API_SECRET=f"taxi:{SECRET}", READ_ONLY="true")
    told(people.service(app, SECRET).get("/internal/deposits"))
    with app.app_context():
        assert Sql("SELECT count(*) FROM service_secrets").scalar() == 0
