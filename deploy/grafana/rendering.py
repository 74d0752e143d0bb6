"""Boards to Grafana's dashboard JSON, by Grafana's own foundation SDK (a developer's dependency)."""

import warnings
from itertools import count
from string import ascii_uppercase

with warnings.catch_warnings():
    # It would rather have boards of the second schema, which Grafana 11 and older cannot import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.common import DataSourceRef
    from grafana_foundation_sdk.models.dashboard import (
        DashboardCursorSync,
        VariableRefresh,
        VariableSort,
    )

from deploy.grafana.parts import Board, Chart, Query, Shape

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_TARGETS = "label_values(rampway_gateway_share_bp, target)"


def rendered(board: Board) -> str:
    """The dashboard's JSON, ready to be imported or provisioned."""
    built = (
        dashboards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.told)
        .tags(["rampway", "generated"])
        .editable()
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboards.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    if board.is_per_target:
        built = built.with_variable(
            dashboards.QueryVariable("target")
            .label("Target")
            .datasource(_SOURCE)
            .query(_TARGETS)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
        )
    ids = count(1)
    for row in board.rows:
        built = built.with_row(dashboards.Row(row.title).id(next(ids)))
        for chart in row.charts:
            built = built.with_panel(_panel(next(ids), chart))
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build()) + "\n"


def _panel(number: int, chart: Chart) -> timeseries.Panel | stat.Panel:
    legend = common.VizLegendOptions().show_legend(show_legend=True)
    panel = timeseries.Panel().legend(legend) if chart.shape is Shape.LINES else stat.Panel()
    panel = (
        panel.id(number)
        .title(chart.title)
        .description(chart.told)
        .datasource(_SOURCE)
        .unit(chart.unit.value)
        .min(0)
        .span(chart.width)
        .height(chart.height)
    )
    for letter, query in zip(ascii_uppercase, chart.queries, strict=False):
        panel = panel.with_target(_target(letter, query))
    return panel


def _target(ref: str, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(_SOURCE)
        .ref_id(ref)
        .expr(query.expr)
        .legend_format(query.legend)
        .range()
    )
