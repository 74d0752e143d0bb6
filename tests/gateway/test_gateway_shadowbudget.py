"""What copies may cost in a minute, and that they are the first to go under load."""

import asyncio

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from shadowed_planes import missing, shadowing, spooled

from rampway.gateway.findings import Finding
from rampway.gateway.load import TICK_SECONDS, Load
from rampway.gateway.metrics import Meters
from rampway.gateway.settings import ShadowSettings
from rampway.gateway.shadowbudget import (
    BURST_SECONDS,
    TOKENS_BELIEVED_MAX,
    Budget,
    Prices,
    Tokens,
    used,
)
from rampway.gateway.terms import Instant
from support.gateway_process import Heard, data_plane, eventually


class Stopwatch:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Instant:
        return Instant(self.seconds, self.seconds)


def finding(read: int | None, written: int | None) -> Finding:
    """What an answer told."""
    told = Finding()
    told.prompt_tokens, told.completion_tokens = read, written
    return told


def test_a_minute_lets_its_copies_go_and_no_more() -> None:
    budget = Budget(ShadowSettings(copies_per_minute=60))

    gone = [t for t in range(6_000) if budget.let_go(10, t / 100)]

    burst = BURST_SECONDS
    assert len(gone) == 60 + burst - 1  # what is left at the end has not filled to a whole one
    assert gone[:10] == list(range(10))


def test_a_budget_below_a_copy_a_burst_still_lets_one_go() -> None:
    budget = Budget(ShadowSettings(copies_per_minute=1))

    gone = [t for t in range(300) if budget.let_go(10, float(t))]

    assert gone == [0, 60, 120, 180, 240]


@given(
    rate=st.floats(min_value=1, max_value=10_000),
    arrivals=st.lists(st.floats(min_value=0, max_value=5), min_size=1, max_size=200),
)
def test_no_stretch_of_time_ever_has_more_copies_than_its_budget_and_a_burst(
    rate: float, arrivals: list[float]
) -> None:
    budget = Budget(ShadowSettings(copies_per_minute=rate))
    now, gone = 0.0, 0

    for wait in arrivals:
        now += wait
        gone += budget.let_go(10, now) is not None

    capacity = max(rate / 60 * BURST_SECONDS, 1.0)
    assert gone <= capacity + rate / 60 * now + 1e-6


def test_tokens_that_the_answer_tells_are_charged_in_place_of_the_estimate() -> None:
    budget = Budget(ShadowSettings(tokens_per_minute=6_000))  # a burst is 1,000
    charge = budget.let_go(400, 0.0)
    assert charge is not None
    assert charge.tokens == Tokens(100.0, 0.0)

    budget.ended(charge, Tokens(500, 1_500))

    assert budget.tokens_total == 2_000
    assert budget.let_go(4, 5.0) is None  # 1,000 overdrawn: made good in ten seconds
    assert budget.let_go(4, 25.0) is not None


def test_what_answers_had_before_is_expected_of_the_next_copy() -> None:
    budget = Budget(ShadowSettings(tokens_per_minute=600_000))
    for n in range(100):
        charge = budget.let_go(400, n * 1.0)
        assert charge is not None
        budget.ended(charge, Tokens(100, 1_000))

    charge = budget.let_go(400, 200.0)

    assert charge is not None
    assert charge.tokens.written == pytest.approx(1_000, rel=0.01)


def test_a_copy_that_is_not_sent_costs_nothing_and_one_that_fails_costs_what_was_read() -> None:
    settings = ShadowSettings(
        copies_per_minute=6, tokens_per_minute=600, spend_per_minute=6, price_per_million_read=1e4
    )
    budget = Budget(settings)
    charge = budget.let_go(400, 0.0)
    assert charge is not None
    assert budget.let_go(400, 0.0) is None

    budget.give_back(charge)
    again = budget.let_go(400, 0.0)

    assert again is not None
    budget.ended(again, used(400, 0, None))
    assert (budget.tokens_total, budget.spend_total) == (100, 1.0)


def test_money_is_reckoned_by_both_prices() -> None:
    settings = ShadowSettings(
        spend_per_minute=60, price_per_million_read=500_000, price_per_million_written=1_000_000
    )
    budget = Budget(settings)
    charge = budget.let_go(40, 0.0)
    assert charge is not None

    budget.ended(charge, Tokens(10, 20))

    assert budget.spend_total == 25.0
    assert budget.let_go(40, 1.0) is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((3, 4), Tokens(3, 4)),
        ((3, None), Tokens(3, 200)),
        ((None, 4), Tokens(100, 4)),
        ((None, None), Tokens(100, 200)),
        ((TOKENS_BELIEVED_MAX + 1, 4), Tokens(100, 4)),
        ((0, 0), Tokens(0, 0)),
    ],
)
def test_tokens_that_are_not_told_or_not_to_be_believed_are_reckoned_by_length(
    told: tuple[int | None, int | None], expected: Tokens
) -> None:
    assert used(400, 800, finding(*told)) == expected
    assert used(400, 800, None) == Tokens(100, 200)


def test_the_models_own_prices_come_before_those_of_the_settings() -> None:
    settings = ShadowSettings(spend_per_minute=60, price_per_million_written=1_000_000)
    budget = Budget(settings)
    tariff = Prices(read=500_000, written=100_000)
    charge = budget.let_go(40, 0.0, tariff)
    assert charge is not None
    assert charge.spend == 5.0

    budget.ended(charge, Tokens(10, 20), tariff)

    assert budget.spend_total == 7.0


def test_an_event_loop_that_is_late_twice_in_a_row_is_load_until_it_comes_in_time() -> None:
    load = Load(ShadowSettings(load_lag=0.1), meters=Meters(), clock=Stopwatch())
    load.tick(0.0)
    assert not load.is_high(TICK_SECONDS)

    load.tick(0.5)
    assert not load.is_high(0.5)  # once: a pause
    assert load.is_high(
        0.5 + TICK_SECONDS + 0.2
    )  # seen at once, before the tick that comes too late
    load.tick(1.0)
    assert load.is_high(1.0)
    load.tick(1.0 + TICK_SECONDS)
    assert not load.is_high(1.06)


def test_many_requests_in_flight_are_load() -> None:
    meters = Meters()
    load = Load(ShadowSettings(load_in_flight=2), meters=meters, clock=Stopwatch())

    meters.in_flight = 2
    assert not load.is_high(0.0)
    meters.in_flight = 3
    assert load.is_high(0.0)


async def test_what_is_over_budget_is_not_copied_and_is_told_in_the_slices_mark() -> None:
    async with data_plane(settings="[shadow]\ncopies_per_minute = 30\n") as plane:
        await shadowing(plane)

        told = [await plane.ask(f"u{n}") for n in range(25)]

        async def all_told() -> bool:
            return sum(mark["copied"] for mark in spooled(plane, "mark")) == 25

        await eventually(all_told)
        over = await missing(plane, "budget")
        assert all(one["by"] == "a" for one in told)
        assert over >= 15
        assert len(plane.b.copies) == 25 - over
        marks = spooled(plane, "mark")
        assert sum(mark["missing"].get("budget", 0) for mark in marks) == over
        assert await plane.admin.metric('shadow_tokens_total{target="tutor"}') > 0


async def test_copies_are_the_first_to_go_when_the_callers_need_the_process() -> None:
    async def waits(_heard: Heard) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.json_response({"by": "a"})

    async with data_plane(a=waits, settings="[shadow]\nload_in_flight = 3\n") as plane:
        await shadowing(plane)

        told = await asyncio.gather(*(plane.ask(f"u{n}") for n in range(20)))

        assert all(one["by"] == "a" for one in told)
        assert await missing(plane, "load") >= 10
        assert len(plane.b.copies) <= 10
