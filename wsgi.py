"""The web server's door: `gunicorn -c ops/gunicorn.conf.py wsgi:app`."""

import sys

from payments.app import create_app
from payments.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    sys.exit(f"The settings can't be used:\n{error}")
