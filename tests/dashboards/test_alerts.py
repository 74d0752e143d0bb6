"""Every alert fires when it should and only then, and says what to do."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

PROMETHEUS = Path(__file__).parent.parent.parent / "deploy" / "prometheus"
ON_PROMTOOL = pytest.mark.skipif(
    not shutil.which("promtool") and not os.environ.get("RAMPWAY_REQUIRE_PROMETHEUS"),
    reason="promtool is not installed",
)
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def promtool(*command: str) -> None:
    done = subprocess.run(
        ["promtool", *command],  # noqa: S607 - wherever it is installed
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@ON_PROMTOOL
def test_the_rules_are_rules() -> None:
    promtool("check", "rules", "alerts.yml")


@ON_PROMTOOL
def test_the_alerts_do_what_their_unit_tests_say() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_seen_firing_and_seen_quiet() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    seen = [one for test in tests for one in test["alert_rule_test"]]

    named = {alert["alert"] for alert in ALERTS}
    assert {one["alertname"] for one in seen if one.get("exp_alerts")} == named
    assert {one["alertname"] for one in seen if not one.get("exp_alerts")} == named


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_severity_a_summary_and_a_next_step(alert: dict[str, Any]) -> None:
    promql_parser.parse(alert["expr"])

    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "next_step"}
    assert all(text.endswith(".") for text in alert["annotations"].values())
    told = " ".join(alert["annotations"].values())
    # A label that an alert's own labels replace would show the wrong value.
    assert "severity" not in re.findall(r"\$labels\.(\w+)", told)
