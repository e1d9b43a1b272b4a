"""The web server's settings. `PORT`, `WEB_CONCURRENCY` and `LOG_*` come from the environment.

Nothing here needs a command line beside it: `gunicorn -c ops/gunicorn.conf.py wsgi:app`, from the
root of the repository.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

# What the web processes count lies in files that each of them can sum up. A folder of this very
# start: counters of another would be counted again. Set before anything imports the counters.
_COUNTERS = f"payments-counters-{os.getpid()}-"
if not Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")).name.startswith(_COUNTERS):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_COUNTERS)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # gunicorn adds it later than this

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from payments.app import after_fork, before_exit
from payments.config import ConfigError, load_settings
from payments.logs import configure

try:
    _settings = load_settings()
except ConfigError as error:
    sys.exit(f"The settings can't be used:\n{error}")
configure(_settings)


class HouseLogger(Logger):
    """Gunicorn's own lines, sent the way of all others: same format, same redaction."""

    def setup(self, cfg: Config) -> None:
        """Take the handlers of its own away again; the root's are ours."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True


logger_class = HouseLogger
loglevel = _settings.log_level.lower()

# Production is reached from other machines, development from this one alone.
_host = "0.0.0.0" if _settings.is_production else "127.0.0.1"  # noqa: S104
bind = f"{_host}:{_settings.port}"
workers = _settings.web_concurrency
# Threads wait for the database most of the time. The pool must hold as many connections.
worker_class = "payments.server.worker.PatientWorker"
threads = 4
# Loaded once, then forked: a fault in the settings ends the start instead of looping in workers.
preload_app = True

# No unit of work outlives 10 s, so a request that was begun is answered within 20; hosts kill
# at 30. Gunicorn stops accepting first, so what was accepted is served.
graceful_timeout = 20
timeout = 60
# Longer than the idle time of common balancers (60 s): they close first, so no request of theirs
# meets a connection that is just being closed here.
keepalive = 75

# Heads of 8 KiB and no more than 64 fields; bodies are bounded by the app.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 64

# Who the caller is behind proxies is the app's business (TRUSTED_PROXIES): nothing is taken from
# forwarded headers here, whoever sent them.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

# The app logs each request itself, with its id and caller.
accesslog = None
# It would be one path for every server of this user.
control_socket_disable = True


def post_fork(server: Arbiter, worker: Worker) -> None:
    """In the child: connections of the parent let go, and the clock started where it runs here."""
    after_fork(server.app.wsgi())


def child_exit(server: Arbiter, worker: Worker) -> None:
    """In the parent: what a dead process was just doing is told no more; what it counted stays."""
    GunicornInternalPrometheusMetrics.mark_process_dead_on_child_exit(worker.pid)


def on_exit(server: Arbiter) -> None:
    """In the parent, at its end: its folder goes with it."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """In the child, at its end: what its clock was sending is finished and written down."""
    before_exit(server.app.wsgi())
