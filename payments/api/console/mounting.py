"""Every page of the console, brought to the app."""

from flask import Flask

from payments.api.console import (
    approvals,
    door,
    levers,
    overview,
    pages,
    rq,
    search,
    sign_in,
    trail,
    webhooks,
)

BLUEPRINTS = (
    overview.bp,
    sign_in.bp,
    webhooks.bp,
    levers.bp,
    approvals.bp,
    trail.bp,
    search.bp,
)


def register(app: Flask, redis_url: str | None) -> None:
    """The pages, and rq-dashboard's behind the same door. After the blueprints of the API."""
    pages.filters(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    rq.init_app(app, redis_url)


for _blueprint in BLUEPRINTS:
    door.guard(_blueprint)
