"""Published cases of the two-sample statistics, by function."""

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("two_sample_vectors.json")


def published(function: str) -> list[dict[str, Any]]:
    """The cases of one function: inputs, expected, tolerance, source."""
    cases: list[dict[str, Any]] = json.loads(_FILE.read_text())["vectors"]
    found = [case for case in cases if case["function"] == function]
    assert found, f"no published case of {function}"
    return found


def tolerance(case: dict[str, Any]) -> dict[str, float]:
    """As keyword arguments of pytest.approx; an absolute one alone when it is absolute."""
    given = case["tolerance"]
    return {"abs": given["abs"], "rel": 0} if "abs" in given else {"rel": given["rel"], "abs": 0}
