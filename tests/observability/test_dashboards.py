"""Dashboards are what the code makes, follow the runbook, and ask what can be asked."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from payments import app, clock, gauges, totals
from scripts import alert_rules, dashboards, pictures
from scripts._prometheus import Prometheus, Unanswered, number
from scripts.boards import charts, grafana, ink, plan, units
from tests.observability.test_alert_rules import alerts

RUNBOOK = (alert_rules.ROOT / alert_rules.RUNBOOK).read_text()
BOARDS = {
    name: json.loads((dashboards.FOLDER / name).read_text())
    for name in ("dashboards/payments.json", "dashboards/superapp_overview.json")
}
PAYMENTS = BOARDS["dashboards/payments.json"]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def every_panel() -> list[dict[str, Any]]:
    return [panel for board in BOARDS.values() for panel in panels(board)]


def expressions() -> Iterator[str]:
    for panel in every_panel():
        yield from (target["expr"] for target in panel["targets"])


def test_the_files_are_what_the_code_makes(tmp_path, capsys):
    assert dashboards.main(["--check"]) == dashboards.FINE
    assert dashboards.main(["--check", "--out", str(tmp_path)]) == dashboards.FOUND
    assert dashboards.main(["--out", str(tmp_path)]) == dashboards.FINE
    assert dashboards.main(["--check", "--out", str(tmp_path)]) == dashboards.FINE
    changed = tmp_path / "dashboards" / "payments.json"
    changed.write_text(changed.read_text().replace("Redis", "Redi"))
    capsys.readouterr()
    assert dashboards.main(["--check", "--out", str(tmp_path)]) == dashboards.FOUND
    (said,) = capsys.readouterr().err.splitlines()
    assert "payments.json" in said


def test_no_file_lies_there_that_the_code_did_not_make():
    found = {
        str(path.relative_to(dashboards.FOLDER))
        for folder in ("dashboards", "provisioning")
        for path in (dashboards.FOLDER / folder).rglob("*")
        if path.is_file()
    }
    assert found == set(dashboards.texts())


def test_every_alert_links_to_a_dashboard_with_a_panel_about_it():
    boards = {board["uid"]: board for board in BOARDS.values()}
    for rule in alerts():
        board = boards[rule["annotations"]["dashboard"]]
        about = [panel["description"] for panel in panels(board)]
        watched = [re.search(rf"Watched by .*\b{rule['alert']}\b", text) for text in about]
        assert any(watched), rule["alert"]


WITHOUT_ALERTS = {"Overview", "Incident communication", "Shown"}
"""Sections of the runbook that are about no alert."""


def test_rows_are_the_runbooks_sections_in_its_order_and_panels_link_there():
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.M)
    rows = [panel["title"] for panel in PAYMENTS["panels"] if panel["type"] == "row"]
    assert rows == ["Objectives", *(each for each in headings if each not in WITHOUT_ALERTS)]
    anchors = {grafana.anchor(text) for text in re.findall(r"^#+ (.+)$", RUNBOOK, re.M)}
    row = ""
    for panel in PAYMENTS["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            continue
        (link,) = panel["links"]
        page, _, anchor = link["url"].partition("#")
        assert page == alert_rules.RUNBOOK and anchor in anchors
        assert anchor == ("on-call-runbook" if row == "Objectives" else grafana.anchor(row))


def test_links_lead_to_where_the_runbook_is_read(tmp_path):
    where = "https://git.example/pay/ops/RUNBOOK.md"
    assert dashboards.main(["--out", str(tmp_path), "--runbook", where]) == dashboards.FINE
    made = json.loads((tmp_path / "dashboards" / "payments.json").read_text())
    assert {link["url"].partition("#")[0] for p in panels(made) for link in p["links"]} == {where}


def test_panels_lie_side_by_side_on_the_grid():
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            grid = panel["gridPos"]
            assert grid["x"] + grid["w"] <= plan.GRID_WIDTH
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not cells & taken, panel["title"]
            taken |= cells
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)


def test_every_panel_says_what_it_shows_and_in_which_unit():
    for panel in every_panel():
        assert panel["description"].endswith(".") and panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    names = [variable["name"] for variable in PAYMENTS["templating"]["list"]]
    assert names == ["datasource", "instance", "route"]


@pytest.mark.parametrize("name", sorted(plan._alerts().keys() - {"MetricsAbsent", "Watchdog"}))
def test_a_limit_is_the_alerts_own(name):
    limit = plan.limit_of(name)
    (rule,) = (rule for rule in alerts() if rule["alert"] == name)
    compared = f"== {limit.value - 1:g}" if not limit.above else f"{limit.value:g}"
    assert compared in rule["expr"] or (limit.value == 1 and "> 0" in rule["expr"])


def test_limits_are_drawn_where_alerts_begin():
    thresholds = {p["title"]: p["fieldConfig"]["defaults"]["thresholds"] for p in panels(PAYMENTS)}
    found = {title: [step["value"] for step in each["steps"]] for title, each in thresholds.items()}
    assert found["Share of faults"] == [None, 0.05]
    assert found["All requests"] == [None, 0.5, 2.5]
    assert found["Last good backup"] == [None, 93600]
    assert found["Workers"] == [None, 1]
    assert found["Errors ≥ 99.9 %"] == [None, 0.999]


def test_what_rows_show_is_never_summed_over_web_processes():
    """Each of them shows the same: a sum would count it as often as there are servers."""
    assert app.GAUGES
    names = {*gauges.GAUGES, gauges.DATABASE_UP, *totals.TOTALS} - {"payments_build_info"}
    seen = set()
    for expr in expressions():
        for found in re.finditer("|".join(sorted(names, key=len, reverse=True)), expr):
            seen.add(found[0])
            assert nearest_aggregation(expr[: found.start()]) in ("max", "min"), expr
    assert len(seen) > 15


def nearest_aggregation(before: str) -> str:
    """The innermost `sum`, `max` and so on whose parenthesis is still open."""
    depth = 0
    for place in range(len(before) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(before[place], 0)
        if before[place] == "(" and depth < 0:
            depth = 0
            head = re.search(r"(\w+)\s*(?:(?:by|without)\s*\([^()]*\)\s*)?$", before[:place])
            if head and head[1] in ("sum", "max", "min", "avg", "count"):
                return head[1]
    return ""


def test_every_metric_of_ours_is_on_the_payments_board():
    assert app.GAUGES
    text = json.dumps(PAYMENTS)
    known = {*gauges.GAUGES, gauges.DATABASE_UP, *totals.TOTALS}
    # What the objective of delivery is made of stands in its recorded series.
    assert {name for name in known if name not in text} == {"payments_webhook_live_attempts_total"}


def test_the_provisioning_names_the_files_and_the_source():
    folder = dashboards.FOLDER / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    providers = yaml.safe_load((folder / "dashboards" / "payments.yml").read_text())
    (provider,) = providers["providers"]
    assert provider["type"] == "file" and provider["allowUiUpdates"] is False
    assert provider["options"]["path"].endswith("/dashboards")


def test_the_pictures_show_every_panel_and_say_who_drew_them():
    for name, board in BOARDS.items():
        drawn = (pictures.FOLDER / name.partition("/")[2].replace(".json", ".svg")).read_text()
        assert "not by Grafana" in drawn
        assert len(drawn) < 300_000
        words = set(re.findall(r">([^<>]+)</text>", drawn.replace("&gt;", "≥")))
        missing = [p["title"] for p in board["panels"] if p["title"] not in words]
        assert missing == []
    readme = (alert_rules.ROOT / "README.md").read_text()
    assert readme.count("ops/observability/grafana/pictures/") >= 2


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "told"),
    [
        (0.0213, "percentunit", None, "2.13 %"),
        (1, "percentunit", 2, "100 %"),
        (0.0042, "s", None, "4.2 ms"),
        (59, "s", None, "59 s"),
        (150, "s", None, "2.5 min"),
        (200_000, "s", None, "2.31 d"),
        (12.345, "reqps", None, "12.3 /s"),
        (2_438_000, "suffix: minor", 0, "2.44 M minor"),
        (206_000, "short", None, "206 k"),
        (4161, "short", 0, "4161"),
        (0, "short", None, "0"),
        (-0.00001, "short", 1, "0"),
    ],
)
def test_values_are_shown_as_people_read_them(value, unit, decimals, told):
    assert units.shown(value, unit, decimals) == told


def test_a_value_has_its_text_and_colour():
    never = [{"type": "range", "options": {"from": 10**9, "to": None, "result": {"text": "never"}}}]
    assert units.mapped(2 * 10**9, never) == {"text": "never"}
    assert units.mapped(5, never) is None
    steps = {"steps": [{"color": "green", "value": None}, {"color": "red", "value": 5}]}
    assert [units.colour(value, steps) for value in (4.9, 5)] == ["green", "red"]


def test_samples_that_are_no_number_are_none():
    assert [number(text) for text in ("NaN", "+Inf", "-Inf", "1", "2.5e-05")] == [
        None, None, None, 1, 2.5e-05,
    ]  # fmt: skip


def test_a_password_in_prometheus_address_is_told_to_nobody():
    with closing(Prometheus("http://ann:hush@127.0.0.1:1/")) as prometheus:
        with pytest.raises(Unanswered) as fault:
            prometheus.at("up", clock.now())
    assert str(fault.value) == "http://127.0.0.1:1 does not answer: ConnectionError"


def test_grafanas_own_types_read_what_was_made():
    for board in BOARDS.values():
        again = json.dumps(Dashboard.from_json(board), cls=JSONEncoder)
        assert json.loads(again) == board


def test_words_are_cut_to_their_room():
    assert ink.fitted("short", 10, 100) == "short"
    cut = ink.fitted("a long title of a narrow panel", 12, 80)
    assert cut.endswith("…") and ink.wide(cut, 12) <= 80


def test_a_gap_in_a_curve_is_no_line():
    panel = next(p for p in panels(PAYMENTS) if p["title"] == "Deliveries that wait")
    points = ((0, 1), (1, 2), (9, 3), (10, 1))
    frame = charts.Frame(0, 0, 300, 200, 0, 10, 1)
    drawn = "".join(charts.Chart(panel, [charts.Curve("backlog", points)], frame).svg())
    (path,) = re.findall(r'<path d="([^"]+)"', drawn)
    assert path.count("M") == 2 and path.count("L") == 2
