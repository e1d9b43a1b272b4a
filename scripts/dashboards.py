"""Make Grafana's dashboards of what is said in scripts/boards/, and of the objectives and alerts.

They are in the repository as they are made; a test holds the two together.
"""

import argparse
import sys
from pathlib import Path

import yaml

import _root
from scripts.boards import grafana, payments, superapp

FOLDER = _root.ROOT / "ops" / "observability" / "grafana"
BOARDS = (payments.BOARD, superapp.BOARD)
HEAD = "# Made by scripts/dashboards.py. Grafana fills in the variables from its own environment.\n"
PROVISIONING = {
    "provisioning/datasources/prometheus.yml": {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "uid": "prometheus",
                "type": "prometheus",
                "access": "proxy",
                "url": "$PROMETHEUS_URL",
                "isDefault": True,
                "editable": False,
                # How often it scrapes: Grafana's shortest window for a rate is four of these.
                "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
            }
        ],
    },
    "provisioning/dashboards/payments.yml": {
        "apiVersion": 1,
        "providers": [
            {
                "name": "payments",
                "folder": "Payments",
                "type": "file",
                "allowUiUpdates": False,
                "disableDeletion": True,
                "updateIntervalSeconds": 30,
                "options": {"path": "$PAYMENTS_GRAFANA/dashboards"},
            }
        ],
    },
}
"""By file: what Grafana reads at its start. PAYMENTS_GRAFANA: where this folder lies there."""
FINE, FOUND = 0, 1


def texts(runbook: str = grafana.RUNBOOK) -> dict[str, str]:
    """Each file's text, by its name. runbook: where panels' links lead."""
    made = {f"dashboards/{board.file}": grafana.text(board, runbook) for board in BOARDS}
    for name, facts in PROVISIONING.items():
        made[name] = HEAD + yaml.safe_dump(facts, sort_keys=False)
    return made


def _differs(folder: Path, made: dict[str, str]) -> list[str]:
    return [
        name
        for name, text in made.items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]


def main(argv: list[str] | None = None) -> int:
    """Exit 0: written, or as they should be. 1: a file differs from what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether files are right")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder to write to")
    parser.add_argument(
        "--runbook",
        default=grafana.RUNBOOK,
        metavar="URL",
        help="where your people read ops/RUNBOOK.md: panels link there",
    )
    args = parser.parse_args(argv)
    made = texts(args.runbook)
    if args.check:
        wrong = _differs(args.out, made)
        for name in wrong:
            say = f"{args.out / name} is not what {Path(__file__).name} makes: run it"
            print(say, file=sys.stderr)
        return FOUND if wrong else FINE
    for name, text in made.items():
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)
    return FINE


if __name__ == "__main__":
    sys.exit(main())
