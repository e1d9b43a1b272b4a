"""Alertmanager's configuration: made of the environment, taken by it, routed by severity."""

import os
import stat
import subprocess
import sys

import pytest
import yaml

from scripts import alertmanager_config
from tests.children import ROOT, plain_environ
from tests.observability.test_alert_rules import alerts

ADDRESSES = {
    "PAGE_WEBHOOK_URL": "https://pager.example/hook?key=page-key",
    "TICKET_WEBHOOK_URL": "https://tickets.example/hook",
    "WATCHDOG_WEBHOOK_URL": "https://hc.example/ping/1",
}
RECEIVERS = {"page": "page", "ticket": "ticket", "info": "nobody"}


@pytest.fixture
def rendered(tmp_path):
    path = tmp_path / "alertmanager.yml"
    alertmanager_config.write(path, alertmanager_config.render(ADDRESSES))
    return path


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)


def inhibited_by(source: str) -> str:
    """The pattern of alerts that this one silences."""
    made = yaml.safe_load(alertmanager_config.render(ADDRESSES))
    (rule,) = [
        rule for rule in made["inhibit_rules"] if f'= "{source}"' in rule["source_matchers"][0]
    ]
    return str(rule["target_matchers"][0])


def test_amtool_takes_it(rendered):
    told = amtool("check-config", str(rendered))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "4 receivers" in told.stdout
    assert amtool("check-config", str(alertmanager_config.TEMPLATE)).returncode != 0


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_goes_where_its_severity_says(rule, rendered):
    labels = {"alertname": rule["alert"], **rule["labels"]}
    wanted = "dead_mans_switch" if rule["alert"] == "Watchdog" else RECEIVERS[labels["severity"]]
    told = amtool(
        "config", "routes", "test", f"--config.file={rendered}", f"--verify.receivers={wanted}",
        *(f"{name}={value}" for name, value in labels.items()),
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


def test_an_alert_without_a_severity_is_read_by_somebody(rendered):
    told = amtool("config", "routes", "test", f"--config.file={rendered}", "alertname=New")
    assert told.stdout.strip() == "ticket"


def test_inhibition_names_alerts_that_there_are():
    known = {rule["alert"] for rule in alerts()}
    made = yaml.safe_load(alertmanager_config.render(ADDRESSES))
    for rule in made["inhibit_rules"][:-1]:
        (source,) = rule["source_matchers"]
        assert source.split('"')[1] in known
        for pattern in rule["target_matchers"][0].split('"')[1].split("|"):
            assert any(name.startswith(pattern.partition(".")[0]) for name in known) or (
                pattern == ".+BudgetBurn"
            ), pattern
    assert "BudgetBurn" in inhibited_by("ReadOnly") and "HighErrorRate" in inhibited_by("ReadOnly")
    assert made["inhibit_rules"][-1]["equal"] == ["alertname"]


def test_the_script_writes_it_for_its_owner_alone(tmp_path):
    out = tmp_path / "alertmanager.yml"
    out.write_text("old")
    out.chmod(0o644)
    run = [sys.executable, "scripts/alertmanager_config.py", "--out", str(out)]
    done = subprocess.run(
        run, cwd=ROOT, env=plain_environ(tmp_path) | ADDRESSES, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert (
        yaml.safe_load(out.read_text())["receivers"][1]["webhook_configs"][0]["url"]
        == (ADDRESSES["PAGE_WEBHOOK_URL"])
    )
    assert os.listdir(tmp_path) == ["alertmanager.yml"]
    assert "page-key" not in done.stdout


def test_every_address_that_is_missing_is_named_at_once(tmp_path, monkeypatch, capsys):
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PAGE_WEBHOOK_URL", 'https://pager.example/"quoted')
    out = tmp_path / "alertmanager.yml"
    assert alertmanager_config.main(["--out", str(out)]) == alertmanager_config.NOT_RUN
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == list(ADDRESSES)
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys):
    for name, address in ADDRESSES.items():
        monkeypatch.setenv(name, address)
    out = tmp_path / "nowhere" / "alertmanager.yml"
    assert alertmanager_config.main(["--out", str(out)]) == alertmanager_config.NOT_RUN
    assert "No such file" in capsys.readouterr().err


def test_waits_get_shorter_by_one_parameter():
    fast = yaml.safe_load(alertmanager_config.render(ADDRESSES, speed=60))["route"]
    assert (fast["group_wait"], fast["group_interval"], fast["repeat_interval"]) == (
        "1s", "5s", "1440s"
    )  # fmt: skip
    assert fast["routes"][0]["group_wait"] == "0s"
