"""A plan as the JSON that Grafana 10.1 and later read, made by Grafana's own SDK."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from scripts.boards.plan import GRID_WIDTH, Board, Panel, Query, Text

RUNBOOK = "ops/RUNBOOK.md"
TAG = "payments"
LONG_AGO_S = 10**9
"""An age that means never: time since the moment 0."""
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"
COLOURS = {
    "{{status}}": {
        "200": GREEN,
        "500": RED, "503": RED, "429": ORANGE, "succeeded": GREEN, "declined": ORANGE,
        "canceled": GREY,
    },
    "{{outcome}}": {
        "success": GREEN, "delivered": GREEN, "sent": GREEN, "failed": RED, "failure": RED,
        "http_5xx": RED, "http_4xx": ORANGE, "limited": ORANGE, "wrong": RED, "canceled": GREY,
    },
    "{{severity}}": {"page": RED, "ticket": ORANGE, "info": BLUE},
    "{{state}}": {"ok": GREEN, "failing": RED, "disabled": GREY},
    "overdue": {"overdue": RED},
    "signed in": {"signed in": GREEN},
}  # fmt: skip
"""What a series means has its colour, by the legend that names it; others are of the palette."""


def text(board: Board, runbook: str = RUNBOOK) -> str:
    """The file's text. runbook: where the runbook is to be read."""
    return json.dumps(_built(board, runbook), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def anchor(heading: str) -> str:
    """A heading's place in a Markdown page, as hosts of Git name it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _built(board: Board, runbook: str) -> models.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .time(board.since, "now")
        .refresh("30s")
        .timezone("utc")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_link("Runbook", runbook))
        .link(dashboard.DashboardLink("Payments").tags([TAG]).as_dropdown(True).keep_time(True)
              .type(models.DashboardLinkType.DASHBOARDS))
    )  # fmt: skip
    for variable in _variables():
        made = made.with_variable(variable)
    for piece in _placed(board, runbook):
        made = made.with_row(piece) if isinstance(piece, dashboard.Row) else made.with_panel(piece)
    return made.build()


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url).target_blank(True)


def _variables() -> Iterator[Any]:
    yield dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    for name, labels in (
        ("instance", 'label_values(up{job="payments"}, instance)'),
        ("route", "label_values(http_requests_total, route)"),
    ):
        yield (
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .query(labels)
            .datasource(SOURCE)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(models.VariableOption(selected=True, text="All", value="$__all"))
        )


def _placed(board: Board, runbook: str) -> Iterator[Any]:
    """Rows and panels in order, each at its place: as many side by side as there is room for."""
    number, y = 0, 0
    for row in board.rows:
        number += 1
        place = models.GridPos(x=0, y=y, w=GRID_WIDTH, h=1)
        yield dashboard.Row(row.title).id(number).grid_pos(place)
        y += 1
        x, tallest = 0, 0
        for panel in row.panels:
            if x + panel.width > GRID_WIDTH:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            place = models.GridPos(x=x, y=y, w=panel.width, h=panel.height)
            link = _link(f"Runbook: {row.section}", f"{runbook}#{anchor(row.section)}")
            yield _panel(panel).id(number).grid_pos(place).links([link])
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel) -> Any:
    made = _KINDS[panel.kind](panel)
    about = panel.about
    if panel.alerts:
        about += f" Watched by {', '.join(panel.alerts)}."
    made = made.title(panel.title).description(about).datasource(SOURCE).unit(panel.unit)
    for number, query in enumerate(panel.queries):
        made = made.with_target(_target(query, number, panel.kind))
    if panel.lowest is not None:
        made = made.min(panel.lowest)
    if panel.highest is not None:
        made = made.max(panel.highest)
    if panel.decimals is not None:
        made = made.decimals(panel.decimals)
    if panel.nothing:
        made = made.no_value(panel.nothing)
    if panel.texts:
        made = made.mappings([*_mappings(panel.texts)])
    return made.thresholds(
        dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(_steps(panel))
    )


def _target(query: Query, number: int, kind: str) -> prometheus.Dataquery:
    made = (
        prometheus.Dataquery()
        .ref_id("ABCDEFGH"[number])
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .datasource(SOURCE)
    )
    if kind == "table":
        made = made.format(PromQueryFormat.TABLE)
    return made.instant() if kind in ("table", "gauges") else made.range()


def _steps(panel: Panel) -> list[models.Threshold]:
    """Grafana's thresholds: a colour holds from its value on; the first has none."""
    limits = sorted(panel.limits, key=lambda limit: limit.value)
    if not limits:
        return [models.Threshold(value=None, color=GREEN)]
    if not limits[0].above:
        return [
            models.Threshold(value=None, color=RED),
            models.Threshold(value=limits[0].value, color=GREEN),
        ]
    colours = [*[ORANGE] * (len(limits) - 1), RED]
    return [models.Threshold(value=None, color=GREEN)] + [
        models.Threshold(value=limit.value, color=colour)
        for limit, colour in zip(limits, colours, strict=True)
    ]


def _mappings(texts: dict[str, Text]) -> Iterator[models.ValueMapping]:
    values = {}
    for number, (value, (shown, colour)) in enumerate(texts.items()):
        result = models.ValueMappingResult(text=shown, color=colour, index=number)
        if value == "never":
            yield models.RangeMap(
                models.DashboardRangeMapOptions(from_val=LONG_AGO_S, to=None, result=result)
            )
        else:
            values[value] = result
    if values:
        yield models.ValueMap(values)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


_SHOWN = {
    "value": choices.BigValueTextMode.VALUE,
    "name": choices.BigValueTextMode.NAME,
    "both": choices.BigValueTextMode.VALUE_AND_NAME,
}


def _stat(panel: Panel) -> Any:
    made = (
        stat.Panel()
        .reduce_options(_last())
        .color_mode(choices.BigValueColorMode.VALUE)
        .text_mode(_SHOWN[panel.shows])
    )
    plain = panel.shows != "value" or panel.texts
    graph = choices.BigValueGraphMode.NONE if plain else choices.BigValueGraphMode.AREA
    return made.graph_mode(graph)


def _gauges(panel: Panel) -> Any:
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .orientation(choices.VizOrientation.HORIZONTAL)
        .display_mode(choices.BarGaugeDisplayMode.BASIC)
        .show_unfilled(True)
    )


def _table(panel: Panel) -> Any:
    """A line for each series, with its labels as columns; of the value nothing is to be seen."""
    hidden = {"Time": True, "Value": True}
    return (
        table.Panel()
        .show_header(True)
        .with_transformation(
            models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
        )
    )


def _timeseries(panel: Panel) -> Any:
    made = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(choices.LegendDisplayMode.LIST)
            .placement(choices.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(choices.TooltipDisplayMode.MULTI)
            .sort(choices.SortOrder.DESCENDING)
        )
        .line_width(1.5)
        .show_points(choices.VisibilityMode.NEVER)
        .span_nulls(False)
    )
    if panel.limits:
        made = made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(choices.GraphTresholdsStyleMode.DASHED)
        )
    for query in panel.queries:
        for name, colour in COLOURS.get(query.legend, {}).items():
            value = {"mode": "fixed", "fixedColor": colour}
            made = made.override_by_name(name, [models.DynamicConfigValue("color", value)])
    return made


def _lines(panel: Panel) -> Any:
    return _timeseries(panel).fill_opacity(8)


def _areas(panel: Panel) -> Any:
    return (
        _timeseries(panel)
        .fill_opacity(40)
        .stacking(common.StackingConfig().mode(choices.StackingMode.NORMAL).group("A"))
    )


_KINDS: dict[str, Callable[[Panel], Any]] = {
    "stat": _stat,
    "gauges": _gauges,
    "table": _table,
    "lines": _lines,
    "areas": _areas,
}
