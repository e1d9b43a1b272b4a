"""What the scripts' tests share with those of the rooms that they serve."""

from tests.checkout.conftest import postgres_app
from tests.webhooks.conftest import fast_app

__all__ = ["fast_app", "postgres_app"]
