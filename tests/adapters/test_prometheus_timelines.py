"""Whatever moments a scrape comes at, and whatever is lost: a row tells the truth, or is not there."""

from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_worlds import ARMS, THRESHOLD, played

from rampway.adapters.evidence_prometheus.timelines import (
    POOLED_SLICES_MAX,
    Block,
    Stream,
    blocks,
    pooled_slices,
    rows,
    sealed,
)

STEPS = st.lists(
    st.sampled_from(
        ["fast", "fast", "full", "full", "scrape", "scrape", "scrape", "restart", "disk"]
    ),
    max_size=60,
)
CALM = st.lists(st.sampled_from(["fast", "full", "scrape"]), max_size=60)


def known(found: list[Block]) -> list[Block]:
    return [block for block in found if block.totals is not None]


@settings(max_examples=150)
@given(STEPS, STEPS, st.booleans(), st.integers(0, 10**6))
def test_every_block_tells_the_truth_of_all_gateways_and_none_covers_a_lost_slice(
    one: list[str],
    other: list[str],
    alike: bool,  # noqa: FBT001 - drawn
    seed: int,
) -> None:
    worlds = [played(one, seed, "a" * 32), played(one if alike else other, seed + 1, "b" * 32)]
    gateways = [world.timeline() for world in worlds]

    for stream in Stream:
        for block in known(blocks(gateways, stream)):
            truths = [world.truth(stream, block.begin, block.end) for world in worlds]
            assert block.totals is not None
            assert block.end - block.begin <= POOLED_SLICES_MAX
            for (arm, name), count in block.totals.items():
                assert count == sum((truth or {})[arm, name] for truth in truths)
            assert all(truth is not None for truth in truths)
            assert all(count >= 0 for count in block.totals.values())


@settings(max_examples=100)
@given(STEPS, st.integers(0, 10**6))
def test_no_row_is_of_a_slice_that_is_not_sealed_and_each_slice_has_one(
    steps: list[str], seed: int
) -> None:
    world = played(steps, seed)
    gateways = [world.timeline()]
    fast = blocks(gateways, Stream.FAST)

    for stream, sealed_slices in (
        (Stream.FAST, len(world.fast)),
        (Stream.FULL, len(world.full)),
        (Stream.LATENCY, len(world.full)),
    ):
        found = blocks(gateways, stream)
        indices = [index for index, _ in rows(found, pooled_slices(fast))]
        assert sealed(found) <= sealed_slices
        assert indices == sorted(set(indices))
        assert all(index < sealed(found) for index in indices)


@settings(max_examples=100)
@given(STEPS, st.integers(0, 10**6), st.integers(0, 60))
def test_a_later_look_never_changes_the_rows_of_an_earlier_one(
    steps: list[str], seed: int, looked: int
) -> None:
    world = played(steps, seed)

    for stream in Stream:
        earlier, later = (
            list(rows(blocks([line], stream), pooled_slices(blocks([line], Stream.FAST))))
            for line in (world.timeline(looked), world.timeline())
        )
        assert later[: len(earlier)] == earlier


@settings(max_examples=150)
@given(STEPS, st.integers(0, 10**6))
def test_the_full_stream_never_seems_to_have_lost_units_of_the_fast_one(
    steps: list[str], seed: int
) -> None:
    gateways = [played(steps, seed).timeline(), played(steps, seed + 1, "b" * 32).timeline()]
    fast = blocks(gateways, Stream.FAST)
    units = dict(rows(fast, pooled_slices(fast)))

    for index, full in rows(blocks(gateways, Stream.FULL), pooled_slices(fast)):
        for arm in ARMS if index in units else ():
            assert full.get((arm, "units"), 0) >= units[index].get((arm, "units"), 0)


@settings(max_examples=50)
@given(CALM, st.integers(0, 10**6))
def test_with_a_scrape_between_any_two_seals_every_slice_has_its_own_row(
    steps: list[str], seed: int
) -> None:
    world = played([each for step in steps for each in (step, "scrape")], seed)
    gateways = [world.timeline()]

    for stream, slices in ((Stream.FAST, world.fast), (Stream.FULL, world.full)):
        found = list(rows(blocks(gateways, stream), set()))
        assert [index for index, _ in found] == list(range(len(slices)))
        for index, totals in found:
            assert totals == {name: slices[index][name] for name in totals}


def test_slices_that_no_scrape_told_apart_are_one_row_and_count_as_covered() -> None:
    world = played(["fast", "scrape", "fast", "fast", "fast", "scrape"], seed=1)

    fast = blocks([world.timeline()], Stream.FAST)
    found = list(rows(fast, pooled_slices(fast)))

    assert [index for index, _ in found] == [0, 1, 2, 3]
    assert found[1:3] == [(1, {}), (2, {})]
    assert found[3][1] == world.truth(Stream.FAST, 1, 4)


def test_a_gap_longer_than_may_be_pooled_is_left_out() -> None:
    gap = ["fast"] * (POOLED_SLICES_MAX + 1)
    world = played(["fast", "scrape", *gap, "scrape", "fast", "scrape"], seed=1)

    fast = blocks([world.timeline()], Stream.FAST)

    assert [index for index, _ in rows(fast, pooled_slices(fast))] == [0, POOLED_SLICES_MAX + 2]
    assert sealed(fast) == POOLED_SLICES_MAX + 3


def test_a_restart_loses_what_lies_around_it_and_nothing_else() -> None:
    before = ["fast", "scrape"] * 3
    world = played([*before, "fast", "restart", *["fast", "scrape"] * 4], seed=5)

    found = dict(rows(blocks([world.timeline()], Stream.FAST), set()))

    assert set(found) == set(range(len(world.fast))) - world.fast_lost - {3}
    assert world.fast_lost


def test_a_total_that_falls_without_a_loss_told_is_a_restart_too() -> None:
    world = played(["fast", "scrape"] * 4, seed=3)
    forged = world.scrapes[2].counts
    units = ("rampway_gateway_sealed_units_total", "candidate", "fast")
    forged[units] = 10**6

    found = dict(rows(blocks([world.timeline()], Stream.FAST), set()))

    assert 3 not in found


def test_the_same_slices_told_two_ways_are_known_in_neither() -> None:
    world = played(["fast", "scrape", "fast", "scrape", "scrape", "fast", "scrape"], seed=3)
    world.scrapes[2].counts["rampway_gateway_sealed_units_total", "candidate", "fast"] = 10**7
    world.scrapes[3].counts["rampway_gateway_sealed_units_total", "candidate", "fast"] = 10**7

    assert [index for index, _ in rows(blocks([world.timeline()], Stream.FAST), set())] == [0]


def test_latencies_that_do_not_add_up_to_the_units_are_no_row_and_hide_no_other() -> None:
    world = played(["fast", "full", "scrape"] * 3, seed=2)
    counts = world.scrapes[1].counts
    missing = next(name for name in counts if name[0] == "rampway_gateway_sealed_latency_total")
    del counts[missing]

    timeline = world.timeline()

    assert [i for i, _ in rows(blocks([timeline], Stream.FULL), set())] == [0, 1, 2]
    assert [i for i, _ in rows(blocks([timeline], Stream.LATENCY), set())] == [0, 2]
    latency = dict(rows(blocks([timeline], Stream.LATENCY), set()))
    assert latency[2] == {
        name: count
        for name, count in (world.truth(Stream.LATENCY, 1, 3) or {}).items()
        if name[1] in {"units", f"slower than {THRESHOLD}"}
    }
