"""What would let harm through without an answer is refused, and says why and what to do."""

from typing import Any

import pytest
from spec_builders import mistake, spec

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("proves nothing", {"canary": {"steps": [100]}}, "canary.steps"),
    ("proves nothing", {"canary": {"steps": [1, {"share": 5, "must": "screen"}, 100]}},
     "canary.steps"),
    ("nobody decides",
     {"gates": {"error": {"role": "watch"}, "latency": {"role": "watch"},
                "refusal": {"role": "inform"}}},
     "gates"),
    ("nobody decides",
     {"gates": {"error": {"role": "watch"}, "latency": "off", "refusal": "off"}}, "gates"),
    ("errors decide", {"gates": {"error": {"role": "inform"}}}, "gates.error.role"),
    ("errors decide", {"gates": {"error": "off"}}, "gates.error"),
    ("blind", {"canary": {"coverage": "40%"}}, "canary.coverage"),
    ("thin budget", {"gates": {"latency": {"budget": "0.5%"}}}, "gates.latency.budget"),
    ("uncounted split", {"unit": "user", "gates": {"sample_ratio": "off"}}, "gates.sample_ratio"),
    ("no control", {"canary": {"holdback": "0%"}}, "canary.holdback"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "changed", "key"), REFUSED, ids=[str(changed) for _, changed, _ in REFUSED]
)
def test_each_way_to_fail_open_is_refused_with_its_reason(
    rule: str, changed: dict[str, Any], key: str
) -> None:
    said = mistake(**changed)

    assert said.startswith(f"{key}: refused [{rule}]: ")
    assert ". Next: " in said


@pytest.mark.parametrize(
    "changed",
    [
        {"canary": {"steps": [10, 100]}},
        {"canary": {"steps": [{"share": 10, "must": "PASS"}, 50, 100]}},
        {"gates": {"latency": {"role": "watch"}, "refusal": {"role": "inform"}}},
        {"gates": {"refusal": {"role": "inform", "budget": "0.1%"}}},
        {"gates": {"sample_ratio": "off"}},
        {"unit": "user"},
        {"canary": {"coverage": "50%"}},
        {"stages": ["ab"], "on_pass": "report", "gates": {"error": {"role": "watch"}}},
    ],
    ids=str,
)
def test_what_still_decides_is_accepted(changed: dict[str, Any]) -> None:
    assert spec(**changed).target == "grammar-tutor"
