"""On-call's scripts need the database's address and nothing else, on whatever machine."""

import pytest

from payments import config
from payments.config import ConfigError, load_settings
from tests.scripts import running

ELSEWHERE = {"DB_URL": "postgresql://pay@db.example/pay"}
SEPTEMBER = ("--from", "2025-09-01T00:00:00Z", "--to", "2025-09-30T23:59:59Z")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("reconcile.py",),
        ("settlement_report.py", *SEPTEMBER),
        ("webhooks_requeue.py", "--dry-run"),
        ("incident_timeline.py", *SEPTEMBER),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("env", ["", "production"])
def test_the_address_alone_will_do_where_a_host_gives_it(postgres, command, env, tmp_path):
    """By `DATABASE_URL`, so that nobody could take it for a developer's own."""
    done = running.script("", tmp_path, *command, DATABASE_URL=postgres, ENV=env)
    assert (done.returncode, "settings" in done.stderr) == (0, False), done.stderr
    assert not (tmp_path / "instance").exists()


def test_a_server_needs_to_be_told_what_it_is(tmp_path):
    with pytest.raises(ConfigError, match="ENV: is not set"):
        load_settings(ELSEWHERE, root=tmp_path)
    assert load_settings(ELSEWHERE, root=tmp_path, serves=False).is_production


def test_what_is_given_is_checked_all_the_same(tmp_path):
    with pytest.raises(ConfigError, match="FEE_BPS"):
        load_settings(ELSEWHERE | {"FEE_BPS": "many"}, root=tmp_path, serves=False)
    assert "FEE_BPS" in config.VARIABLES
