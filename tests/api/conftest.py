"""The app with routes of the tests' own beside the real ones."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api import echo
from tests.databases import SECRETS

ADMIN = {"X-Admin-Token": SECRETS["ADMIN_TOKEN"].partition(":")[2]}


@pytest.fixture
def echo_app(app: Flask) -> Flask:
    """The service with the routes of `echo`."""
    app.register_blueprint(echo.blueprint())
    return app


@pytest.fixture
def echo_client(echo_app: Flask) -> FlaskClient:
    """A client of it, without credentials."""
    return echo_app.test_client()


@pytest.fixture
def operator(echo_app: Flask) -> FlaskClient:
    """A client with an operator's token."""
    made = echo_app.test_client()
    made.environ_base["HTTP_X_ADMIN_TOKEN"] = ADMIN["X-Admin-Token"]
    return made
