"""The engine's laws and its spending agree with published cases; other files hold those of bounds and ranks."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from rampway.gates.engine import Law, Spender, binomial
from rampway.gates.planning import SEQUENTIAL, mean_found

PUBLISHED = json.loads((Path(__file__).parent / "engine_vectors.json").read_text())["vectors"]


def published(function: str) -> list[dict[str, Any]]:
    found = [vector for vector in PUBLISHED if vector["function"].startswith(function)]
    assert found
    return found


def by_id(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def tails(law: Law, seen: int) -> tuple[float, float, float]:
    """Probabilities of fewer, of exactly as many, and of more."""
    at = seen - law.offset
    return float(law.p[:at].sum()), float(law.p[at]), float(law.p[at + 1 :].sum())


@pytest.mark.parametrize("vector", published("binom_test"), ids=by_id)
def test_the_binomial_law_gives_the_published_exact_test(vector: dict[str, Any]) -> None:
    given = vector["inputs"]

    law = binomial(given["n"], given["p"])

    as_unlikely = law.p <= law.p[given["x"] - law.offset] * (1 + 1e-7)
    assert law.p[as_unlikely].sum() == pytest.approx(vector["expected"], **vector["tolerance"])


@pytest.mark.parametrize("vector", published("poisson rate ratio"), ids=by_id)
def test_counts_given_their_sum_give_the_published_rate_ratio_test(vector: dict[str, Any]) -> None:
    given = vector["inputs"]
    exposed = given["ratio0"] * given["exposure1"]

    law = binomial(given["count1"] + given["count2"], exposed / (exposed + given["exposure2"]))

    fewer, same, more = tails(law, given["count1"])
    beyond = fewer if given.get("alternative") == "smaller" else more
    p = beyond + (same / 2 if given["midp"] else same)
    assert p == pytest.approx(vector["expected"], **vector["tolerance"])


def normal_slice(variance: float, step: float) -> Law:
    """A normal slice on a lattice so fine that its boundaries can be read as z-values."""
    reach = round(9 * math.sqrt(variance) / step)
    p = np.exp(-((np.arange(-reach, reach + 1) * step) ** 2) / (2 * variance))
    return Law(-reach, p / p.sum())


def z_boundaries(times: list[float], spent: list[float], step: float) -> list[float]:
    spender = Spender()
    found = []
    for time, before, budget in zip(times, [0.0, *times], spent, strict=False):
        boundary = spender.upper(normal_slice(time - before, step), budget)
        # The budget is met between the boundary and the point below it, half a step down each.
        found.append((boundary.at - 1) * step / math.sqrt(time))
    return found


@pytest.mark.parametrize("vector", published("lan_demets"), ids=by_id)
def test_spending_gives_the_published_boundaries_of_obrien_and_fleming_type(
    vector: dict[str, Any],
) -> None:
    given = vector["inputs"]
    one_side = given["alpha"] / given["sides"]
    spent = [2 * (1 - float(ndtr(ndtri(1 - one_side / 2) / math.sqrt(t)))) for t in given["t"]]

    found = z_boundaries(given["t"], spent, step=0.00005)

    assert found == pytest.approx(vector["expected"], **vector["tolerance"])


@pytest.mark.parametrize("vector", published("sequential_bounds"), ids=by_id)
def test_spending_by_a_power_of_time_gives_the_published_boundaries(vector: dict[str, Any]) -> None:
    given = vector["inputs"]
    one_side = given["alpha"] / given["sides"]
    spent = [one_side * t ** given["power_spending_exponent"] for t in given["t"]]

    found = z_boundaries(given["t"], spent, step=0.00005)

    # The source takes probabilities under 1e-7 for nothing, and none can cross at its second look.
    known = [look for look, bound in enumerate(vector["expected"]) if bound < given["ztrun"]]
    expected = [vector["expected"][look] for look in known]
    assert len(known) == len(given["t"]) - 1
    assert ndtr([-found[look] for look in known]) == pytest.approx(
        ndtr(-np.array(expected)), abs=1.5e-7
    )
    assert [found[look] for look in known[4:]] == pytest.approx(expected[4:], **vector["tolerance"])


@pytest.mark.parametrize("vector", published("power_calculation"), ids=by_id)
def test_the_planner_has_the_published_power_for_a_mean(vector: dict[str, Any]) -> None:
    given = vector["inputs"]
    units = given["n2"]
    spread = math.sqrt(given["baseline_var"] * (1 + units / given["n1"]))

    def found(power: float) -> float:
        """The difference found by one fixed two-sided test, without the cost of looking often."""
        return mean_found(units, given["alpha"] / 2, power, spread) / math.sqrt(SEQUENTIAL)

    reach = vector["tolerance"]["abs"]
    assert found(vector["expected"] - reach) < given["mde"] < found(vector["expected"] + reach)
