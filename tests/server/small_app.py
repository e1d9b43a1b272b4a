"""A WSGI app without a database, and the house's web worker with short times, for Gunicorn to run.

`gunicorn -k tests.server.small_app.QuickWorker tests.server.small_app:app`
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from payments.server import worker

ANSWER = b"x" * 65_536

worker.ARRIVES_WITHIN_S = 1.0
worker.READ_WITHIN_S = 1.0
worker.LINGERS_S = 1.0


class QuickWorker(worker.PatientWorker):
    """The worker under test."""


class App:
    """`/endless` never stops; `/broken` breaks off; anything else says how long the body was."""

    extensions = {"payments_settings": SimpleNamespace(public_url="http://pay.test")}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        """Answer."""
        path = environ["PATH_INFO"]
        if path in ("/endless", "/broken"):
            start("200 OK", [("Content-Type", "text/plain")])
            return self._endless(broken=path == "/broken")
        body = str(len(environ["wsgi.input"].read())).encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return iter([body])

    def _endless(self, broken: bool) -> Iterator[bytes]:
        yield ANSWER
        if broken:
            raise ZeroDivisionError
        while True:
            yield ANSWER


app = App()
