"""What copies may cost in a minute, and that they are the first to go under load."""

import asyncio

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from shadowed_planes import missing, shadowing, spooled

from rampway.gateway.load import TICK_SECONDS, Load
from rampway.gateway.metrics import Meters
from rampway.gateway.settings import ShadowSettings
from rampway.gateway.shadowbudget import BURST_SECONDS, Budget, Tokens, told_tokens
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


def usage(read: int, written: int) -> bytes:
    return orjson.dumps({"usage": {"prompt_tokens": read, "completion_tokens": written}})


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

    budget.answered(charge, 400, usage(500, 1_500), "")

    assert budget.tokens_total == 2_000
    assert budget.let_go(4, 5.0) is None  # 1,000 overdrawn: made good in ten seconds
    assert budget.let_go(4, 25.0) is not None


def test_what_answers_had_before_is_expected_of_the_next_copy() -> None:
    budget = Budget(ShadowSettings(tokens_per_minute=600_000))
    for n in range(100):
        charge = budget.let_go(400, n * 1.0)
        assert charge is not None
        budget.answered(charge, 400, usage(100, 1_000), "")

    charge = budget.let_go(400, 200.0)

    assert charge is not None
    assert charge.tokens.written == pytest.approx(1_000, rel=0.01)


def test_without_usage_four_bytes_are_a_token() -> None:
    budget = Budget(ShadowSettings(tokens_per_minute=6_000))
    charge = budget.let_go(400, 0.0)
    assert charge is not None

    budget.answered(charge, 400, b"x" * 800, "")

    assert budget.tokens_total == 300


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
    budget.failed(again)
    assert (budget.tokens_total, budget.spend_total) == (100, 1.0)


def test_money_is_reckoned_by_both_prices() -> None:
    settings = ShadowSettings(
        spend_per_minute=60, price_per_million_read=500_000, price_per_million_written=1_000_000
    )
    budget = Budget(settings)
    charge = budget.let_go(40, 0.0)
    assert charge is not None

    budget.answered(charge, 40, usage(10, 20), "")

    assert budget.spend_total == 25.0
    assert budget.let_go(40, 1.0) is None


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (usage(3, 4), Tokens(3, 4)),
        (b'{"usage":{"input_tokens":5,"output_tokens":6}}', Tokens(5, 6)),
        (b'data: {"a":1}\n\ndata: {"usage":{"prompt_tokens":7,"completion_tokens":8}}\n\ndata: [DONE]\n\n', Tokens(7, 8)),
        (b'{"usage":{"prompt_tokens":-1,"completion_tokens":8}}', None),
        (b'{"usage":{"prompt_tokens":true,"completion_tokens":8}}', None),
        (b'{"usage":{"prompt_tokens":1e300,"completion_tokens":8}}', None),
        (b'{"usage":null}', None),
        (b'["usage"]', None),
        (b'{"usage":', None),
        (b"no tokens here", None),
        (b"", None),
    ],
)  # fmt: skip
def test_tokens_are_believed_only_where_they_are_counts(answer: bytes, told: Tokens | None) -> None:
    assert told_tokens(answer) == told


@given(st.binary(max_size=300))
def test_no_answer_breaks_the_count_of_tokens(noise: bytes) -> None:
    budget = Budget(ShadowSettings(tokens_per_minute=600))
    charge = budget.let_go(0, 0.0)
    assert charge is not None

    budget.answered(charge, 0, b'{"usage"' + noise, "")

    assert 0 <= budget.tokens_total < 2e7


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
