"""The telemetry page names every metric, and every metric that is asked for is on it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.boards import BOARDS
from rampway.gateway.settings import TelemetrySettings

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "telemetry.md").read_text()
DOCUMENTED = set(re.findall(r"^\| `(rampway_\w+)` \|", PAGE, re.MULTILINE))
GATEWAY = (
    "rampway/gateway/metrics.py",
    "rampway/gateway/monitoring.py",
    "rampway/gateway/sealed.py",
)
PARTS_OF_HISTOGRAMS = r"_(bucket|count|sum)$"


def written_in(*files: str) -> str:
    return "\n".join((ROOT / file).read_text() for file in files)


def asked_for(promql: str) -> set[str]:
    return {
        name if name in DOCUMENTED else re.sub(PARTS_OF_HISTOGRAMS, "", name)
        for name in re.findall(r"\brampway_\w+", promql)
    }


def test_every_metric_on_the_page_is_in_the_code() -> None:
    gateway = written_in(*GATEWAY)
    others = written_in(
        "rampway/judge/metrics.py", "activities/metering.py", "workflows/release.py"
    )
    for name in DOCUMENTED:
        bare = name.removesuffix("_total").removesuffix("_seconds")
        if name.startswith("rampway_gateway_"):
            assert f'"{name.removeprefix("rampway_gateway_")}"' in gateway
        else:
            assert re.search(rf'"{bare}(_seconds)?"', others), name


def test_every_metric_in_the_code_is_on_the_page() -> None:
    gateway = written_in(*GATEWAY)
    families = re.findall(r'family\(\s*"(\w+)",\s*"(?:counter|gauge)"', gateway)
    families += re.findall(r'Family\(\s*"(\w+)"', gateway)
    families += re.findall(r'_histograms\(\s*"(\w+)"', gateway)
    families += re.findall(r'\("(\w+)", "[A-Z][^"]+\."\)', gateway)

    assert len(families) > 40
    assert {f"rampway_gateway_{name}" for name in families} - DOCUMENTED == set()
    judge = re.findall(r'"(rampway_judge_\w+)"', written_in("rampway/judge/metrics.py"))
    assert {name for name in judge if not {name, f"{name}_total"} & DOCUMENTED} == set()
    worker = re.findall(
        r'"(rampway_\w+)"', written_in("activities/metering.py", "workflows/release.py")
    )
    assert {name for name in worker if not {f"{name}_total", f"{name}_seconds"} & DOCUMENTED} == (
        set()
    )


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboard_asks_for_metrics_of_the_page_only(board: Any) -> None:  # noqa: ANN401 - a Board, from a folder that is not typed
    for chart, query in board.queries:
        assert asked_for(query.expr) <= DOCUMENTED, chart


def test_alerts_ask_for_metrics_of_the_page_only() -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert asked_for(rule["expr"]) <= DOCUMENTED, rule["alert"]


def test_every_attribute_of_a_span_and_every_setting_is_on_the_page() -> None:
    source = written_in("rampway/gateway/tracing.py", "rampway/gateway/otlp.py")
    names = set(
        re.findall(r'"((?:rampway|traffic|feature_flag|gen_ai|http|error)\.[a-z_.]+)"', source)
    )
    names.discard("rampway.gateway")  # the tracer's own name

    assert len(names) > 20
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
    assert all(
        re.search(rf"^{name} = ", PAGE, re.MULTILINE) for name in TelemetrySettings.model_fields
    )
