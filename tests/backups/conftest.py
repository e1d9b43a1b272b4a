"""Keys that are kept apart, and a database with something in it."""

from pathlib import Path

import pytest

from tests.backups import stock
from tests.backups.stock import Keys, Stock


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Fresh age keys, in a folder of their own."""
    return stock.new_keys(tmp_path / "keys")


@pytest.fixture
def stocked(postgres: str, tmp_path: Path) -> Stock:
    """The ids of what is in the test's database."""
    with stock.service(postgres, tmp_path):
        return stock.fill()
