"""The app of a worker's process, made once: before its first job, not within one."""

from functools import lru_cache

from flask import Flask

from payments.app import create_app


@lru_cache(maxsize=1)
def worker_app() -> Flask:
    """The service without its web server."""
    return create_app()
