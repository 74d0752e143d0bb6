"""What `rampway status` tells of a shadow that runs, and that a silent judge hides nothing else."""

import httpx
import pytest
from cli_builders import progress
from test_cli_screens import NOW, SPLIT, UTC

from clients.finding import Found
from clients.opening import DataPlane
from clients.screens import View, progress_text
from clients.watching import read_view
from rampway.adapters.evidence_gateway import GatewayEvidence
from rampway.adapters.figures_judge import JudgeFigures
from rampway.adapters.traffic_gateway import GatewayTraffic
from rampway.ports import Unreachable
from rampway.release.phases import Phase
from rampway.reports.shadow_figures import Quantiles, ShadowFigures, shadow_facts, shadow_line

FIGURES = ShadowFigures(
    epoch=3,
    seconds=300,
    pairs=812,
    scored=800,
    score_difference=-0.004,
    baseline=Quantiles(p50=100, p95=210),
    candidate=Quantiles(p50=112, p95=248),
)
SHADOWING = progress(phase=Phase.SHADOW, step="shadow", verdict=None, passed=("offline",))
FOUND = Found("grammar-tutor-41c0de", "grammar-tutor", "release/grammar-tutor/41c0de", None)


@pytest.mark.parametrize(
    ("warning_seconds", "told"),
    [
        (None, "latency p95 +38 ms"),
        (0.05, "latency p95 +38 ms (warns above +50 ms)"),
        (0.02, "latency p95 +38 ms: WARNING, above +20 ms"),
    ],
)
def test_the_line_tells_score_and_latency_and_warns_above_the_limit(
    warning_seconds: float | None, told: str
) -> None:
    line = shadow_line(FIGURES, warning_seconds)

    assert line == f"shadow: 812 pairs, score -0.4 pp (last 5 min), {told}"
    assert shadow_facts(FIGURES, warning_seconds)["warns"] == (warning_seconds == 0.02)


def test_without_pairs_the_line_says_so() -> None:
    assert shadow_line(FIGURES.none_yet(), 0.05) == "shadow: no pairs (last 5 min)"


def test_only_a_shadow_has_the_line() -> None:
    shadow = progress_text(View(SHADOWING, observed=SPLIT, shadow=FIGURES), NOW, UTC)
    canary = progress_text(View(progress(), observed=SPLIT, shadow=FIGURES), NOW, UTC)

    assert "shadow: 812 pairs, score -0.4 pp (last 5 min)" in shadow
    assert "812 pairs" not in canary


async def shown(judge: httpx.MockTransport) -> View:
    """What a screen is drawn from, with a gateway that answers and this judge."""

    def observes(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=SPLIT.model_dump(mode="json"))

    transport = httpx.MockTransport(observes)
    async with (
        httpx.AsyncClient(base_url="http://gateway", transport=transport) as gateway,
        httpx.AsyncClient(base_url="http://judge", transport=judge) as told,
    ):
        plane = DataPlane(
            GatewayTraffic(gateway), GatewayEvidence(gateway, told), JudgeFigures(told)
        )
        return await read_view(SHADOWING, FOUND, None, plane)


async def test_a_judge_that_is_down_leaves_the_figures_unknown_and_the_rest_as_it_is() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    view = await shown(httpx.MockTransport(silent))

    screen = progress_text(view, NOW, UTC)
    assert "shadow: not known, the judge http://judge does not answer (ConnectError)" in screen
    assert "lease 1 min 57 s" in screen


async def test_figures_of_another_release_are_not_shown_as_this_ones() -> None:
    other = FIGURES.model_copy(update={"epoch": 2}).model_dump(mode="json")

    view = await shown(httpx.MockTransport(lambda _: httpx.Response(200, json=other)))

    assert "shadow: no pairs (last 5 min)" in progress_text(view, NOW, UTC)


async def test_an_answer_that_is_no_figures_is_not_known() -> None:
    def older(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, text="404: Not Found")

    async with httpx.AsyncClient(
        base_url="http://judge", transport=httpx.MockTransport(older)
    ) as http:
        with pytest.raises(Unreachable, match="404"):
            await JudgeFigures(http).shadow("grammar-tutor")
