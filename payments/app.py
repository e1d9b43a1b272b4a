"""The one factory: what the service is made of, in the order it is put together."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
from flask import Blueprint, Flask
from flask_migrate import Migrate

from payments import (
    audit,
    config,
    counters,
    db,
    drivers,
    fault_reports,
    ledger,
    logs,
    successes,
    totals,
)
from payments import settings as runtime_settings
from payments.api import (
    admin,
    admin_adjustments,
    admin_audit,
    admin_config,
    admin_deliveries,
    admin_endpoints,
    admin_payouts,
    admin_wallets,
    api_keys,
    auth,
    balance,
    callers,
    docs,
    etags,
    events,
    health,
    idempotency,
    internal,
    limits,
    me,
    merchants,
    metrics,
    openapi,
    pay,
    payments,
    payouts,
    problems,
    refunds,
    requests,
    settlements,
    signatures,
    strangers,
    transfers,
    wallets,
    webhook_endpoints,
)
from payments.api import models as api_models
from payments.api.bodies import MAX_BODY
from payments.api.console import door
from payments.api.console import mounting as console
from payments.api.console import sessions as console_sessions
from payments.api.routing import routes_of
from payments.checkout import expiry
from payments.checkout import invariants as checkout_invariants
from payments.checkout import models as checkout_models
from payments.config import Settings, load_settings
from payments.customers import models as customers_models
from payments.customers import pruning
from payments.db import Store
from payments.events import models as events_models
from payments.ledger import folding, reconciliation
from payments.merchants import models as merchants_models
from payments.operations import gauges as operations_gauges
from payments.operations import models as operations_models
from payments.operations.clock import Clock, Task
from payments.settlement import invariants as settlement_invariants
from payments.settlement import models as settlement_models
from payments.transfers import invariants as transfers_invariants
from payments.transfers import models as transfers_models
from payments.webhooks import backlog, checks, drain, sweep
from payments.webhooks import models as webhooks_models

TABLES = (
    audit,
    runtime_settings,
    successes,
    totals,
    ledger,
    events_models,
    customers_models,
    merchants_models,
    operations_models,
    checkout_models,
    transfers_models,
    settlement_models,
    webhooks_models,
    api_models,
)
"""Where tables are described. Importing them is what makes the metadata whole."""

GAUGES = (folding, backlog, operations_gauges)
"""Where gauges are read. Importing them is what makes `/metrics` whole."""

FORGETTING = (
    pruning.prune,
    idempotency.prune,
    signatures.prune,
    checks.prune,
    console_sessions.prune,
)
"""What deletes what has served its time, each at most so many at once."""

SWEEP_LEASE_S = 2 * sweep.RUN_S
EXPIRY_S, EXPIRED_AT_ONCE = 1.0, 500
FOLDING_S = 1.0
CHECKS_S = 1.0
PRUNING_S, PRUNED_AT_ONCE = 3600.0, 1_000
RECONCILE_S, RECONCILE_LEASE_S = 6 * 3600.0, 1800.0

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"

BLUEPRINTS: tuple[Blueprint, ...] = (
    health.bp,
    metrics.bp,
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
    settlements.bp,
    payouts.bp,
    webhook_endpoints.bp,
    events.bp,
    internal.bp,
    admin.bp,
    admin_audit.bp,
    admin_config.bp,
    admin_deliveries.bp,
    admin_endpoints.bp,
    admin_wallets.bp,
    admin_adjustments.bp,
    admin_payouts.bp,
    openapi.bp,
    docs.bp,
)
"""Every route of the service. Each declares its guard (`api/routing.py`)."""


class Service(Flask):
    """Flask for views and hooks that are all plain functions."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: asking a dozen of them at each request what they are costs time."""
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """The service, ready to serve. Raises ConfigError when the environment can't be used.

    settings: instead of the environment's.
    """
    settings = settings or load_settings()
    logs.configure(settings)
    fault_reports.configure(settings)
    app = Service(__name__, static_folder=None)
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
    door.init_app(app)
    limits.init_app(app, settings.redis_url)
    etags.init_app(app)
    problems.init_app(app)
    strangers.init_app(app)
    checkout_invariants.register()
    transfers_invariants.register()
    settlement_invariants.register()
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    console.register(app, settings.redis_url)
    counters.begin_at_zero((one.method, one.rule, one.statuses) for one in routes_of(app))
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


def periodic_tasks(settings: Settings) -> tuple[Task, ...]:
    """What the clock runs, and how often: beside each worker, or in the web process without one."""
    return (
        # Two at once do no harm, and a killed clock must not keep all others from looking.
        Task(
            "sweep", settings.webhook_worker_poll_secs, sweep.run, hears=True, lease_s=SWEEP_LEASE_S
        ),
        Task("expiry", EXPIRY_S, lambda: expiry.expire_due(EXPIRED_AT_ONCE)),
        Task("folding", FOLDING_S, folding.fold_all),
        Task("checks", CHECKS_S, checks.run_due),
        Task("pruning", PRUNING_S, _prune),
        Task("reconcile", RECONCILE_S, _reconcile, lease_s=RECONCILE_LEASE_S, apart=True),
    )


def _reconcile() -> None:
    """Look at every invariant, and let metrics know of what was found."""
    report = reconciliation.run()
    db.in_unit(lambda: reconciliation.note(report))
    if report.findings:
        log.error("the ledger breaks its invariants", extra={"broken": report.broken()})


def _prune() -> None:
    """Delete what has served its time, in small units."""
    for forget in FORGETTING:
        while db.in_unit(lambda: forget(PRUNED_AT_ONCE)) >= PRUNED_AT_ONCE:  # noqa: B023 (run at once)
            continue


def after_fork(app: Flask) -> None:
    """In a web process, once it has forked: let go of connections that belong to the parent.

    Without Redis there is no worker: then the clock begins here.
    """
    store: Store = app.extensions["payments"]
    store.engine.dispose(close=False)
    with app.app_context():
        settings = config.current()
    if settings.redis_url is None:
        clock = Clock(app.app_context, periodic_tasks(settings))
        app.extensions["payments_clock"] = clock
        clock.start()


def before_exit(app: Flask) -> None:
    """In a web process that ends: stop its clock, and write down what is in flight."""
    clock: Clock | None = app.extensions.pop("payments_clock", None)
    if clock is not None:
        with app.app_context():
            drain.of_process().stop()
            clock.stop()
            drain.finish()
