"""Make Prometheus's alert rules of what is promised (slos.toml) and what is watched (alerts.toml).

The rules are in the repository as they are made; a test holds the two together.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "ops" / "observability"
RULES = FOLDER / "prometheus" / "alerts.yml"
HEAD = "# Made by scripts/alert_rules.py of slos.toml and alerts.toml: change those, then run it.\n"
RUNBOOK = "ops/RUNBOOK.md"
DASHBOARD = "payments"
"""The one that each alert leads to, by its uid: below `/d/` in Grafana."""
FINE, FOUND = 0, 1


class Burn(NamedTuple):
    """How fast the budget of 30 days may burn: so many times as fast as it should, over the long
    window, and still over the short one, so that it clears when it is over.

    Source: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
    """

    times: float
    short_s: int
    long_s: int
    for_s: int
    severity: str


BURNS = (
    Burn(14.4, 300, 3600, 120, "page"),
    Burn(6, 1800, 21_600, 900, "page"),
    Burn(3, 7200, 86_400, 3600, "ticket"),
    Burn(1, 21_600, 259_200, 10_800, "ticket"),
)


def rules(speed: float = 1.0) -> dict[str, Any]:
    """The rule file as Prometheus reads it. speed: how many times shorter each window is."""
    slos = tomllib.loads((FOLDER / "slos.toml").read_text())
    alerts = tomllib.loads((FOLDER / "alerts.toml").read_text())
    windows = sorted({w for burn in BURNS for w in (burn.short_s, burn.long_s)})
    ratios = [_ratio(name, slo, window) for name, slo in slos.items() for window in windows]
    burns = [_burn(name, slo, burn) for name, slo in slos.items() for burn in BURNS]
    watched = [_alert(name, facts) for name, facts in alerts.items()]
    groups = {"objectives": ratios, "burn rates": burns, "alerts": watched}
    made = {"groups": [{"name": name, "rules": found} for name, found in groups.items()]}
    return _faster(made, speed)


def _record(name: str, window_s: int) -> str:
    return f"payments:{name}:bad_ratio_{window_s}"


def _ratio(name: str, slo: dict[str, Any], window_s: int) -> dict[str, Any]:
    bad, every = (slo[part].replace("{w}", f"{window_s}s") for part in ("bad", "all"))
    expr = f"({bad}) / ({every})" if every else bad
    return {"record": _record(name, window_s), "expr": expr}


def _burn(name: str, slo: dict[str, Any], burn: Burn) -> dict[str, Any]:
    limit = f"{burn.times} * {round(1 - slo['objective'] / 100, 6)}"
    parts = [f"{_record(name, window)} > {limit}" for window in (burn.long_s, burn.short_s)]
    if slo["floor"]:
        bad = slo["bad"].replace("{w}", f"{burn.long_s}s")
        parts.append(f"({bad}) * {burn.long_s}s >= {slo['floor']}")
    title = f"{name.capitalize()}BudgetBurn"
    return _rule(
        title,
        "\nand ".join(parts),
        f"{burn.for_s}s",
        {"severity": burn.severity, "slo": name, "burn": f"{burn.times:g}"},
        f'The budget of "{slo["says"]}" ({slo["objective"]:g} % of 30 days) burns'
        f" {burn.times:g} times as fast as it lasts.",
    )


def _alert(name: str, facts: dict[str, str]) -> dict[str, Any]:
    labels = {"severity": facts["severity"]}
    return _rule(name, facts["when"].strip(), facts["for"], labels, facts["summary"])


def _rule(name: str, expr: str, for_: str, labels: dict[str, str], summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        "for": for_,
        "labels": labels,
        "annotations": {
            "summary": summary,
            "runbook_url": f"{RUNBOOK}#{name.lower()}",
            "dashboard": DASHBOARD,
            "dashboard_url": f"/d/{DASHBOARD}",
        },
    }


def _faster(made: Any, speed: float) -> Any:
    """Every time that is written as `<n>s`, so many times shorter, a second at least."""
    if isinstance(made, dict):
        return {key: _faster(value, speed) for key, value in made.items()}
    if isinstance(made, list):
        return [_faster(value, speed) for value in made]
    if not isinstance(made, str):
        return made
    text = re.sub(r"\* (\d+)s ", lambda m: f"* {max(1, round(int(m[1]) / speed))} ", made)
    return re.sub(
        r"(?<=\[)(\d+)s(?=\])|^(\d+)s$",
        lambda m: f"{_shorter(int(m[1] or m[2]), speed)}s",
        text,
    )


def _shorter(seconds: int, speed: float) -> int:
    return max(1, round(seconds / speed)) if seconds else 0


def text(speed: float = 1.0, runbook: str = RUNBOOK, grafana: str = "") -> str:
    """The file's text. runbook: where `runbook_url` leads, with the alert's name as anchor.
    grafana: where that is, for `dashboard_url`.
    """
    made = rules(speed)
    for group in made["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                notes = rule["annotations"]
                notes["runbook_url"] = runbook + notes["runbook_url"].removeprefix(RUNBOOK)
                notes["dashboard_url"] = grafana.rstrip("/") + notes["dashboard_url"]
    return HEAD + yaml.safe_dump(made, sort_keys=False, width=1000, allow_unicode=True)


def main(argv: list[str] | None = None) -> int:
    """Exit 0: written, or as it should be. 1: the file differs from what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is right")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="make windows so many times shorter"
    )
    parser.add_argument(
        "--runbook",
        default=RUNBOOK,
        metavar="URL",
        help="where your people read ops/RUNBOOK.md: a page links to its alert's entry there",
    )
    parser.add_argument(
        "--grafana",
        default="",
        metavar="URL",
        help="where your Grafana is: a page links to its dashboard there",
    )
    parser.add_argument("--out", type=Path, default=RULES, help="write there")
    args = parser.parse_args(argv)
    made = text(args.speed, args.runbook, args.grafana)
    if args.check:
        if args.out.exists() and args.out.read_text() == made:
            return FINE
        print(f"{args.out} is not what {Path(__file__).name} makes: run it", file=sys.stderr)
        return FOUND
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(made)
    print(f"{args.out}: {made.count('- alert:')} alerts")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
