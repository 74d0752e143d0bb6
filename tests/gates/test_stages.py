"""How the answers of gates add up: which verdict, how long it takes, and in whose words."""

import pytest
from evidence_builders import step_plan

from rampway.gates.plans import Role
from rampway.gates.slices import RateRow, Slices
from rampway.gates.stages import add_up, at_hold_end, deciding, least_seconds
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict


def stream(*, sealed: int = 30, rows: int = 30) -> Slices[RateRow]:
    counted = tuple(RateRow(index, 50, 0, 950, 9) for index in range(rows))
    return Slices("error", counted, sealed, 60, None)


def gate(
    verdict: Verdict,
    *,
    name: str = "error",
    role: Role = Role.GUARD,
    needed: int | None = None,
    crossed: float | None = None,
) -> GateVerdict:
    return GateVerdict(
        gate=name,
        verdict=verdict,
        role=role,
        units_needed=needed,
        crossed_at_seconds=crossed,
        why=f"{name} says so",
    )


def added(
    *gates: GateVerdict,
    waits: tuple[float | None, ...] | None = None,
    streams: tuple[Slices[RateRow], ...] = (stream(),),
) -> StageVerdict:
    return add_up(
        step_plan(),
        gates,
        streams,
        exposed=77,
        waits_seconds=waits if waits is not None else (None,) * len(gates),
    )


@pytest.mark.parametrize(
    ("seconds", "over"), [(1800, True), (1799.999_999_9, True), (1799.9, False), (1801, True)]
)
def test_the_hold_is_over_when_its_last_slice_is(seconds: float, *, over: bool) -> None:
    assert at_hold_end(step_plan(hold_seconds=1800), seconds) is over


def test_the_hold_is_over_at_the_very_bit_that_rounding_allows() -> None:
    plan = step_plan(hold_seconds=1800)

    assert at_hold_end(plan, 1800 * (1 - 1e-9))
    assert not at_hold_end(plan, 1800 * (1 - 2e-9))


def test_a_stage_is_as_old_as_its_least_sealed_stream() -> None:
    assert least_seconds([stream(sealed=30), stream(sealed=28, rows=28)]) == 28 * 60
    assert least_seconds([]) == 0


def test_streams_of_informing_gates_do_not_hold_a_stage_up() -> None:
    slow, quick = stream(sealed=2, rows=2), stream()

    assert deciding([(Role.INFORM, slow), (Role.WATCH, quick)]) == [quick]
    assert deciding([(Role.INFORM, slow)]) == [slow]


def test_the_worst_gate_that_decides_wins() -> None:
    informs = gate(Verdict.BREACH, name="informs", role=Role.INFORM)

    assert added(gate(Verdict.PASS), gate(Verdict.BREACH)).verdict is Verdict.BREACH
    assert added(informs, gate(Verdict.PASS)).verdict is Verdict.PASS
    assert added(informs).verdict is Verdict.NO_DATA
    assert added().verdict is Verdict.NO_DATA


@pytest.mark.parametrize(("blind", "verdict"), [(1, Verdict.PASS), (2, Verdict.NO_DATA)])
def test_a_stage_that_is_blind_for_the_limit_has_no_data(blind: int, verdict: Verdict) -> None:
    found = added(gate(Verdict.PASS), streams=(stream(rows=30 - blind),))

    assert found.verdict is verdict
    assert found.blind_seconds == blind * 60


def test_a_breach_stands_however_blind_the_stage_is() -> None:
    found = added(gate(Verdict.BREACH), streams=(stream(rows=20),))

    assert found.verdict is Verdict.BREACH
    assert found.why == "error: error says so"


def test_the_most_blind_stream_counts() -> None:
    found = added(gate(Verdict.PASS), gate(Verdict.PASS), streams=(stream(), stream(rows=25)))

    assert found.blind_seconds == 300
    assert found.why == "no slice could be counted for 5 min, the limit is 2 min"


def test_a_stage_tells_the_least_of_its_streams() -> None:
    found = added(
        gate(Verdict.PASS), gate(Verdict.PASS), streams=(stream(), stream(sealed=29, rows=28))
    )

    assert (found.seconds, found.slices, found.usable, found.exposed) == (29 * 60, 29, 28, 77)
    bare = added(gate(Verdict.PASS), streams=())
    assert (bare.seconds, bare.slices, bare.usable, bare.blind_seconds) == (0, 0, 0, 0)
    assert bare.verdict is Verdict.PASS


def test_a_stage_waits_as_long_as_the_gate_that_waits_longest() -> None:
    waiting = Verdict.INCONCLUSIVE

    assert added(gate(waiting), gate(waiting), waits=(60, 240)).seconds_to_go == 240
    assert added(gate(waiting), gate(waiting), waits=(60, None)).seconds_to_go is None
    assert added(gate(waiting), gate(Verdict.PASS), waits=(60, 240)).seconds_to_go == 60
    assert added(gate(Verdict.PASS), waits=(60,)).seconds_to_go is None


def test_nobody_waits_for_a_gate_that_only_informs() -> None:
    informs = gate(Verdict.INCONCLUSIVE, role=Role.INFORM)

    assert added(gate(Verdict.INCONCLUSIVE), informs, waits=(60, None)).seconds_to_go == 60


def test_every_gate_has_to_say_how_long_it_waits() -> None:
    with pytest.raises(ValueError, match="shorter"):
        added(gate(Verdict.INCONCLUSIVE), waits=())


def test_the_words_are_those_of_the_gate_that_waits_for_most() -> None:
    waiting = Verdict.INCONCLUSIVE
    some, most = gate(waiting, name="some", needed=40), gate(waiting, name="most", needed=900)

    assert added(some, most).why == "most: most says so"
    assert added(most, some).why == "most: most says so"
    assert added(gate(waiting, name="unknown"), some).why == "some: some says so"
    one = gate(waiting, name="one", needed=1)
    assert added(gate(waiting, name="unknown"), one).why == "one: one says so"


def test_a_gate_that_no_waiting_helps_speaks_before_one_that_waits() -> None:
    waiting = Verdict.INCONCLUSIVE
    latched = gate(waiting, name="sample ratio", crossed=600)
    most = gate(waiting, name="most", needed=900)

    assert added(most, latched).why == "sample ratio: sample ratio says so"


def test_of_several_breaches_the_one_that_misses_units_is_no_earlier_word() -> None:
    first = gate(Verdict.BREACH, name="first", crossed=60)
    second = gate(Verdict.BREACH, name="second")

    assert added(second, first).why == "second: second says so"


def test_gates_of_another_verdict_or_that_only_inform_have_no_say() -> None:
    found = added(
        gate(Verdict.BREACH, name="informs", role=Role.INFORM),
        gate(Verdict.PASS, name="passes", needed=10_000),
        gate(Verdict.BREACH, name="breached"),
    )

    assert found.why == "breached: breached says so"


def test_a_stage_says_why_nothing_can_pass_it() -> None:
    informs = gate(Verdict.PASS, role=Role.INFORM)

    assert added().why == "5 % declares no gate, so nothing can pass it"
    assert added(informs).why == "every gate of 5 % only informs, so nothing can pass it"


def test_a_passed_stage_says_which_gates_passed_it() -> None:
    informs = gate(Verdict.BREACH, role=Role.INFORM)

    assert added(gate(Verdict.PASS)).why == "every gate of 5 % passed"
    assert added(gate(Verdict.PASS), informs).why == "every gate of 5 % that decides passed"


def test_a_stage_without_data_but_not_blind_speaks_for_its_gate() -> None:
    found = added(gate(Verdict.NO_DATA))

    assert found.why == "error: error says so"
