"""Every dashboard is what its generator writes, fits Grafana's schema, and asks what Prometheus can answer."""

import copy
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from dashboard_schema import DASHBOARD
from jsonschema import Draft7Validator
from scraped import BAD, COPIES_PER_SECOND, PER_SECOND, scraped

from deploy.grafana.boards import BOARDS
from deploy.grafana.parts import Board, Query
from support.seeded_prometheus import Prometheus, seeded_prometheus

ROOT = Path(__file__).parent.parent.parent
VARIABLES = {"$__rate_interval": "1m", "$__range": "30m", "$target": "tutor"}
QUERIES = [
    pytest.param(query, id=f"{board.uid}: {chart} {query.legend}")
    for board in BOARDS
    for chart, query in board.queries
]
TABLE = os.environ.get("RAMPWAY_QUERY_TABLE")  # a file that is told each query and its answer
ON_PROMETHEUS = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool"))
    and not os.environ.get("RAMPWAY_REQUIRE_PROMETHEUS"),
    reason="prometheus is not installed",
)


def substituted(query: Query) -> str:
    expr = query.expr
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def written(board: Board) -> Any:  # noqa: ANN401 - any JSON
    return json.loads((ROOT / "deploy" / "grafana" / f"{board.uid}.json").read_text())


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with seeded_prometheus(scraped(), tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_committed_dashboard_is_what_the_generator_writes(board: Board) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    from deploy.grafana.rendering import rendered  # noqa: PLC0415 - needs the SDK

    text = (ROOT / "deploy" / "grafana" / f"{board.uid}.json").read_text()

    assert text == rendered(board), "write it anew: python -m deploy.grafana"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboard_fits_the_schema_and_holds_every_chart_once(board: Board) -> None:
    told = written(board)

    assert [one.message for one in Draft7Validator(DASHBOARD).iter_errors(told)] == []
    panels = [panel for panel in told["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert [
        (panel["title"], target["expr"]) for panel in panels for target in panel["targets"]
    ] == [(chart, query.expr) for chart, query in board.queries]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("refresh",), 5),
        (("panels", 1, "gridPos"), "top"),
        (("panels", 1, "gridPos", "w"), 25),
        (("panels", 1, "targets", 0, "expr"), ""),
        (("panels", 1, "type"), "graph"),
        (("schemaVersion",), 36),
        (("unknown",), True),
    ],
)
def test_the_schema_finds_what_grafana_would_not_read(
    path: tuple[str | int, ...], wrong: object
) -> None:
    told = copy.deepcopy(written(BOARDS[0]))
    inside = told
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = wrong

    assert list(Draft7Validator(DASHBOARD).iter_errors(told))


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_promql_and_knows_no_variable_that_is_not_set(query: Query) -> None:
    expr = substituted(query)

    assert "$" not in expr
    promql_parser.parse(expr)


@ON_PROMETHEUS
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_answered_with_finite_numbers(prometheus: Prometheus, query: Query) -> None:
    answer = prometheus.query(substituted(query))

    assert answer
    assert all(math.isfinite(value) for _, value in answer)
    named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert all(named <= labels.keys() for labels, _ in answer)
    if TABLE:
        told = "; ".join(f"{_words(labels)}{value:.5g}" for labels, value in answer)
        with Path(TABLE).open("a") as table:
            table.write(f"| `{substituted(query).replace('|', chr(92) + '|')}` | {told} |\n")


def _words(labels: dict[str, str]) -> str:
    said = " ".join(labels[name] for name in sorted(labels) if name not in {"job", "__name__"})
    return f"{said} = " if said else ""


def asked(prometheus: Prometheus, chart: str, legend: str) -> dict[str, float]:
    [query] = [
        query for title, query in BOARDS[0].queries if title == chart and query.legend == legend
    ]
    return {labels.get("arm", ""): value for labels, value in prometheus.query(substituted(query))}


@ON_PROMETHEUS
@pytest.mark.parametrize(
    ("chart", "kind"),
    [("Errors by arm", "errors"), ("Refusals by arm", "refusals"), ("Late by arm", "late")],
)
def test_rates_are_told_for_both_arms_and_for_the_shadow(
    prometheus: Prometheus, chart: str, kind: str
) -> None:
    arms = asked(prometheus, chart, "{{arm}}")
    shadow = asked(prometheus, chart, "shadow")

    assert arms == pytest.approx({arm: BAD[arm][kind] for arm in PER_SECOND}, rel=1e-3)
    assert shadow == pytest.approx({"": BAD["shadow"][kind]}, rel=1e-3)


@ON_PROMETHEUS
def test_traffic_latency_and_scores_are_told_for_both_arms_and_for_the_shadow(
    prometheus: Prometheus,
) -> None:
    near = pytest.approx

    assert asked(prometheus, "Requests by arm", "{{arm}}") == near(PER_SECOND, rel=1e-3)
    assert asked(prometheus, "Requests by arm", "shadow") == near({"": COPIES_PER_SECOND}, rel=1e-3)
    assert asked(prometheus, "Latency p50", "{{arm}}") == near(
        {"baseline": 0.1, "candidate": 0.25}, rel=1e-2
    )
    assert asked(prometheus, "Latency p50", "shadow") == near({"": 0.5}, rel=1e-2)
    [query] = [query for title, query in BOARDS[0].queries if title == "Judged score"]
    scores = {
        (labels["sample"], labels["arm"]): value
        for labels, value in prometheus.query(substituted(query))
    }
    assert scores == near(
        {
            ("seen", "baseline"): 0.8,
            ("seen", "candidate"): 0.7,
            ("pair", "baseline"): 0.8,
            ("pair", "candidate"): 0.9,
        },
        rel=1e-3,
    )


@ON_PROMETHEUS
def test_an_arm_without_an_error_is_at_0_and_not_missing(tmp_path: Path) -> None:
    seed = scraped()
    kind, series = seed.families["rampway_gateway_errors"]
    seed.families["rampway_gateway_errors"] = (
        kind,
        [one for one in series if one[1]["arm"] == "candidate"],
    )
    with seeded_prometheus(seed, tmp_path) as running:
        arms = asked(running, "Errors by arm", "{{arm}}")

    assert arms == pytest.approx({"baseline": 0.0, "candidate": 0.08}, rel=1e-3)
