"""Somebody with a phone, and the service they call."""

from collections.abc import Callable

import pytest
from flask import Flask

from payments.config import Settings
from tests.customers.people import PHONE, Person

MakePerson = Callable[..., Person]


@pytest.fixture
def app(make_app) -> Flask:
    """The service, with a rate limit that is not what these tests are about."""
    return make_app(RATE_LIMIT_PER_MINUTE="10000")


@pytest.fixture
def make_person(app: Flask, settings: Settings) -> MakePerson:
    """`make_person("+49…", address="…")`: somebody with that phone."""

    def make(phone: str = PHONE, **more: str) -> Person:
        return Person(app.test_client(), settings.instance_dir / "sms.log", phone, **more)

    return make


@pytest.fixture
def person(make_person: MakePerson) -> Person:
    """Somebody who has not signed in yet."""
    return make_person()


@pytest.fixture
def customer(person: Person) -> Person:
    """Somebody who has."""
    person.signs_in()
    return person
