"""The one factory: what the service is made of, in the order it is put together."""

from pathlib import Path

import flask
from flask import Blueprint, Flask
from flask_migrate import Migrate

from payments import audit, config, db, drivers, ledger, logs
from payments.api import (
    admin,
    api_keys,
    auth,
    balance,
    callers,
    docs,
    etags,
    health,
    internal,
    limits,
    me,
    merchants,
    openapi,
    pay,
    payments,
    problems,
    refunds,
    requests,
    transfers,
    wallets,
)
from payments.api import models as api_models
from payments.api.bodies import MAX_BODY
from payments.checkout import invariants as checkout_invariants
from payments.checkout import models as checkout_models
from payments.config import Settings, load_settings
from payments.customers import models as customers_models
from payments.db import Store
from payments.events import models as events_models
from payments.merchants import models as merchants_models
from payments.operations import models as operations_models
from payments.transfers import invariants as transfers_invariants
from payments.transfers import models as transfers_models

TABLES = (
    audit,
    ledger,
    events_models,
    customers_models,
    merchants_models,
    operations_models,
    checkout_models,
    transfers_models,
    api_models,
)
"""Where tables are described. Importing them is what makes the metadata whole."""

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"

BLUEPRINTS: tuple[Blueprint, ...] = (
    health.bp,
    auth.bp,
    me.bp,
    wallets.bp,
    transfers.bp,
    merchants.bp,
    api_keys.bp,
    payments.bp,
    pay.bp,
    refunds.bp,
    balance.bp,
    internal.bp,
    admin.bp,
    openapi.bp,
    docs.bp,
)
"""Every route of the service. Each declares its guard (`api/routing.py`)."""


def create_app(settings: Settings | None = None) -> Flask:
    """The service, ready to serve. Raises ConfigError when the environment can't be used.

    settings: instead of the environment's.
    """
    settings = settings or load_settings()
    logs.configure(settings)
    app = Flask(__name__, static_folder=None)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.db_url,
        MAX_CONTENT_LENGTH=MAX_BODY + 1,  # see bodies.raw
        TRUSTED_PROXIES=settings.trusted_proxies,
        HSTS=settings.public_url.startswith("https://"),
    )
    app.url_map.merge_slashes = False
    _keep(app, settings)
    requests.init_app(app)
    callers.init_app(app)
    limits.init_app(app, settings.redis_url)
    etags.init_app(app)
    problems.init_app(app)
    checkout_invariants.register()
    transfers_invariants.register()
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def _keep(app: Flask, settings: Settings) -> None:
    """Give the app its database, and make both the present ones inside its contexts."""
    db.db.init_app(app)
    Migrate(app, db.db, directory=str(MIGRATIONS))
    drivers.learn_columns(db.Base.metadata)
    store = Store(settings.db_url)
    app.extensions["payments"] = store
    app.extensions["payments_settings"] = settings

    def _use(_sender: Flask, **_extra: object) -> None:
        db.use(store)
        config.use(settings)

    flask.appcontext_pushed.connect(_use, app, weak=False)


def after_fork(app: Flask) -> None:
    """In a web process, once it has forked: let go of connections that belong to the parent."""
    store: Store = app.extensions["payments"]
    store.engine.dispose(close=False)
