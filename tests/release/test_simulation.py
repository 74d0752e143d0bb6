"""Played releases: the same gates as real ones, seeded, and honest about what they drew."""

import numpy as np
import pytest

from rampway.gates.plans import SettlePlan, StagePlan
from rampway.release.plan import compile_plan
from rampway.release.records import Target
from rampway.release.scenarios import scenarios, sum_up
from rampway.release.simulation import Ended, Played, Rates, World, play
from rampway.release.specfile import parse_spec
from rampway.release.template import demo_spec, demo_target, init_spec

RATES = {"error": 0.01, "latency_p95": 0.05}


@pytest.fixture(scope="module")
def stages() -> tuple[StagePlan, ...]:
    text = demo_spec(target="tutor", model="b", upstream="tutor-b", cases="evals/x.jsonl")
    spec = parse_spec(text, filename="release.yaml")
    return compile_plan(spec, demo_target("tutor")).watched


def world(**candidate: float) -> World:
    bad = {
        stream: Rates(baseline=rate, candidate=candidate.get(stream, rate))
        for stream, rate in RATES.items()
    }
    return World(name="a world", units_per_second=160, bad=bad, changed=0)


def plays(stages: tuple[StagePlan, ...], seen: World, runs: int) -> list[Played]:
    return [play(stages, seen, np.random.default_rng((1, run))) for run in range(runs)]


def test_the_same_seed_plays_the_same_release(stages: tuple[StagePlan, ...]) -> None:
    first = play(stages, world(), np.random.default_rng(7))

    assert play(stages, world(), np.random.default_rng(7)) == first


def test_a_harmless_release_is_mostly_promoted_after_all_its_holds(
    stages: tuple[StagePlan, ...],
) -> None:
    played = plays(stages, world(), 20)

    assert sum(p.ended is Ended.PROMOTED for p in played) >= 18
    holds = sum(stage.hold_seconds for stage in stages)
    assert all(p.seconds >= holds - 1e-9 for p in played if p.ended is Ended.PROMOTED)


def test_an_outage_is_found_within_seconds_of_the_first_share(
    stages: tuple[StagePlan, ...],
) -> None:
    played = plays(stages, world(error=1.0), 20)

    assert {p.ended for p in played} == {Ended.BREACH}
    assert {p.gate for p in played} == {"error"}
    assert all(p.exposed_seconds is not None and p.exposed_seconds <= 8 for p in played)
    assert max(p.exposed_units for p in played) < 100


def test_a_worse_mean_score_is_stopped_before_anybody_is_exposed(
    stages: tuple[StagePlan, ...],
) -> None:
    worse = world().model_copy(update={"pass_rate": Rates(baseline=0.8, candidate=0.5)})

    played = plays(stages, worse, 10)

    assert {(p.ended, p.stage) for p in played} == {(Ended.BREACH, "shadow")}
    assert {(p.exposed_seconds, p.exposed_units) for p in played} == {(None, 0)}


def test_a_gate_on_a_stream_that_the_world_does_not_know_is_an_error(
    stages: tuple[StagePlan, ...],
) -> None:
    unknown = world().model_copy(update={"bad": {"error": world().bad["error"]}})

    with pytest.raises(KeyError, match="latency_p95"):
        play(stages, unknown, np.random.default_rng(1))


def test_the_scenarios_are_one_harmless_world_and_worse_ones() -> None:
    worlds = scenarios(RATES | {"refusal": 0.02}, 50, quality=True)

    harmless = [seen.name for seen in worlds if seen.harmless]
    assert harmless == ["harmless"]
    assert len({seen.name for seen in worlds}) == len(worlds)
    assert all(rates.candidate >= rates.baseline for seen in worlds for rates in seen.bad.values())


def test_the_sum_of_plays_counts_every_play_once() -> None:
    played = [
        Played(ended=Ended.PROMOTED, stage="settling", seconds=100, exposed_seconds=60),
        Played(ended=Ended.BREACH, stage="5 %", gate="error", seconds=40, exposed_seconds=9.0),
        Played(ended=Ended.BREACH, stage="shadow", gate="judge mean", seconds=3),
        Played(ended=Ended.DEADLINE, stage="25 %", gate="error", seconds=90, exposed_seconds=70),
    ]

    summed = sum_up(world(), played)

    assert (summed.runs, summed.promoted) == (4, 1)
    assert summed.ended == {"promoted": 1, "breach": 2, "deadline": 1}
    assert summed.stages == {"5 %": 1, "shadow": 1, "25 %": 1}
    assert summed.detection.median == 9.0
    assert summed.duration.median == 100


def test_a_production_plan_is_played_at_its_full_lengths() -> None:
    spec = parse_spec(init_spec(), filename="release.yaml")
    plan = compile_plan(spec, Target(name="grammar-tutor"))
    rates = {
        gate.stream: 1 - gate.quantile if gate.quantile else 0.01
        for stage in plan.watched
        for gate in getattr(stage, "gates", ())
    }
    bad = {stream: Rates(baseline=rate, candidate=rate) for stream, rate in rates.items()}

    played = play(
        plan.watched,
        World(name="quiet", units_per_second=50, bad=bad),
        np.random.default_rng(3),
    )

    assert isinstance(plan.watched[-1], SettlePlan)
    assert played.ended is Ended.PROMOTED
    assert played.seconds >= 3600 + 4 * 1800
