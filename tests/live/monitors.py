"""A real Prometheus and a real Alertmanager, with the repository's own configuration."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.children import Child, plain_environ

READY_WITHIN_S = 40.0
HERE = "127.0.0.1"
ANSWERS_WITHIN_S = 10.0


class Monitor(Child):
    """One of both; it answers when this returns."""

    def __init__(self, command: list[str], port: int, folder: Path, release: Path) -> None:
        self.port = port
        self.http = requests.Session()
        self.http.trust_env = False
        super().__init__(
            command,
            log=folder / f"{command[0]}.log",
            environ=plain_environ(folder),
            folder=release,
        )
        try:
            self.wait_ready(self._is_ready, READY_WITHIN_S)
        except BaseException:
            self.close()
            raise

    def close(self, timeout_s: float = 5.0) -> None:
        """End it and the connection to it."""
        self.http.close()
        super().close(timeout_s)

    def url(self, path: str = "") -> str:
        """An address of it."""
        return f"http://{HERE}:{self.port}{path}"

    def ask(self, path: str, **parameters: str) -> Any:
        """Its JSON answer. Raises requests.RequestException."""
        answer = self.http.get(self.url(path), params=parameters, timeout=ANSWERS_WITHIN_S)
        answer.raise_for_status()
        return answer.json()

    def _is_ready(self) -> bool:
        try:
            return self.http.get(self.url("/-/ready"), timeout=2).status_code == 200
        except requests.RequestException:
            return False


class Prometheus(Monitor):
    """Prometheus."""

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        data = self.ask("/api/v1/query", query=expr)["data"]
        if data["resultType"] in ("scalar", "string"):
            return [{"metric": {}, "value": data["result"]}]
        result: list[dict[str, Any]] = data["result"]
        return result

    def printed(self, expr: str) -> str:
        """What `promtool query instant` prints, without the times."""
        lines = []
        for series in self.query(expr):
            labels = dict(series["metric"])
            name = labels.pop("__name__", "")
            inner = ", ".join(f'{key}="{labels[key]}"' for key in sorted(labels))
            lines.append(f"{name}{{{inner}}} => {series['value'][1]}")
        return "\n".join(sorted(lines))

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        alerts = self.ask("/api/v1/alerts")["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


class Alertmanager(Monitor):
    """Alertmanager."""

    def states(self) -> dict[str, str]:
        """By the name of each alert that it knows: `active`, or `suppressed`."""
        return {
            each["labels"]["alertname"]: each["status"]["state"]
            for each in self.ask("/api/v2/alerts")
        }


def configure(release: Path, ports: Mapping[str, int], interval: str) -> None:
    """The release's own prometheus.yml, with these ports and times in it, and nothing else."""
    folder = release / "ops" / "observability" / "prometheus"
    path = folder / "prometheus.yml"
    text = re.sub(r"(scrape_interval|scrape_timeout): \d+s", rf"\1: {interval}", path.read_text())
    text = re.sub(r"evaluation_interval: \d+s", "evaluation_interval: 1s", text)
    for stands, name in ((":9093", "alertmanager"), (":9090", "prometheus")):
        text = text.replace(stands, f":{ports[name]}")
    path.write_text(text)
    targets = folder / "web.yml"
    targets.write_text(targets.read_text().replace(":8080", f":{ports['web']}"))


def start_prometheus(folder: Path, release: Path, port: int) -> Prometheus:
    """Start it; alerts are told each second, so that silence is noticed soon."""
    return Prometheus(
        [
            "prometheus", "--config.file=ops/observability/prometheus/prometheus.yml",
            f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address={HERE}:{port}",
            "--rules.alert.resend-delay=1s", "--log.level=warn",
        ],
        port, folder, release,
    )  # fmt: skip


def start_alertmanager(folder: Path, release: Path, port: int) -> Alertmanager:
    """Start it, alone: no other one is looked for."""
    return Alertmanager(
        [
            "prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}", f"--web.listen-address={HERE}:{port}",
            "--cluster.listen-address=", "--log.level=warn",
        ],
        port, folder, release,
    )  # fmt: skip
