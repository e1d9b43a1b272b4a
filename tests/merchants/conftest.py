"""A shop, who owns it, and an operator."""

import pytest
from flask.testing import FlaskClient

from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import Caller


@pytest.fixture
def shop(app_context) -> str:
    """An approved merchant's id."""
    return world.merchant()


@pytest.fixture
def owner(app_context, client: FlaskClient) -> Caller:
    """The owner of `shop`, signed in."""
    return callers.owner(client)


@pytest.fixture
def stranger(app_context, client: FlaskClient) -> Caller:
    """A customer who owns nothing, signed in."""
    return callers.customer(client, world.customer("+4915155555555"))


@pytest.fixture
def operator(client: FlaskClient) -> Caller:
    """Ann, on call."""
    return callers.operator(client)


@pytest.fixture
def manager(client, shop) -> Caller:
    """The shop, by a key that makes, lists and revokes keys and reads payments."""
    return callers.with_key(client, shop, "api_keys", "payments:read")
