"""Prometheus's configuration is one that Prometheus takes, and scrapes what alerts ask for."""

import shutil
import subprocess

import yaml

from scripts import alert_rules

FOLDER = alert_rules.FOLDER / "prometheus"


def config():
    return yaml.safe_load((FOLDER / "prometheus.yml").read_text())


def test_promtool_takes_it_with_its_rules_and_targets(tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "metrics_token").write_text("m" * 40)
    told = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    alerts = alert_rules.RULES.read_text().count("- alert:")
    records = alert_rules.RULES.read_text().count("- record:")
    assert f"SUCCESS: {alerts + records} rules found" in told.stdout


def test_the_token_is_no_part_of_the_repository():
    (job,) = [job for job in config()["scrape_configs"] if job["job_name"] == "payments"]
    assert job["authorization"] == {"credentials_file": "metrics_token"}
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "ops/observability/prometheus/metrics_token"],
        cwd=alert_rules.ROOT, capture_output=True, check=False,
    )  # fmt: skip
    listed = (alert_rules.ROOT / ".gitignore").read_text().splitlines()
    assert ignored.returncode == 0 or "ops/observability/prometheus/metrics_token" in listed


def test_every_job_that_rules_name_is_scraped():
    jobs = {job["job_name"] for job in config()["scrape_configs"]}
    rules = alert_rules.RULES.read_text()
    assert {"payments", "payments-live"} <= jobs
    assert set(
        part.partition('"')[0] for part in rules.split('job="')[1:]
    ) <= jobs  # fmt: skip


def test_a_scrape_has_the_time_that_a_stopped_database_takes():
    assert config()["global"]["scrape_timeout"] == "10s"
