"""How verdicts rank, and the small sums that they carry."""

import itertools

import pytest

from rampway.gates.plans import Role
from rampway.gates.verdicts import Count, GateVerdict, StageVerdict, Verdict, significant, worst

RANKED = ["PASS", "INCONCLUSIVE", "NO_DATA", "INCOMPARABLE", "BREACH"]


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(RANKED, 2)))
def test_the_worse_verdict_wins_in_any_order(better: str, worse: str) -> None:
    pair = (Verdict(better), Verdict(worse))

    assert worst(pair) is Verdict(worse)
    assert worst(reversed(pair)) is Verdict(worse)


def test_nothing_asked_is_no_data() -> None:
    assert worst([]) is Verdict.NO_DATA


def test_a_rate_is_bad_per_unit_and_zero_without_units() -> None:
    assert Count(bad=3, units=12).rate == 0.25
    assert Count().rate == 0
    assert (Count().bad, Count().units) == (0, 0)


def gate(name: str, verdict: Verdict, role: Role = Role.GUARD) -> GateVerdict:
    return GateVerdict(gate=name, verdict=verdict, role=role)


def test_an_informing_gate_never_decides() -> None:
    found = [gate("a", Verdict.BREACH, role).decides for role in Role]

    assert dict(zip(Role, found, strict=True)) == {
        Role.GUARD: True,
        Role.WATCH: True,
        Role.INFORM: False,
    }


def test_the_decisive_gate_is_the_first_that_decides_with_the_stages_verdict() -> None:
    gates = (
        gate("informs", Verdict.BREACH, Role.INFORM),
        gate("passes", Verdict.PASS),
        gate("first", Verdict.BREACH),
        gate("second", Verdict.BREACH),
    )

    decisive = StageVerdict(stage="5 %", verdict=Verdict.BREACH, gates=gates).decisive

    assert decisive is not None
    assert decisive.gate == "first"
    assert StageVerdict(stage="5 %", verdict=Verdict.NO_DATA, gates=gates).decisive is None


def test_a_gate_says_nothing_that_was_not_measured() -> None:
    said = gate("error", Verdict.NO_DATA)

    assert (said.expected, said.alpha, said.spent) == (0, 0, 0)
    assert (said.breach_at, said.pass_at, said.units_needed, said.why) == (None, None, None, "")


def test_a_stage_says_nothing_that_was_not_measured() -> None:
    said = StageVerdict(stage="5 %", verdict=Verdict.NO_DATA)

    assert (said.seconds, said.slices, said.usable, said.blind_seconds, said.exposed) == (0,) * 5


def test_nine_digits_are_kept() -> None:
    assert significant(0.123456789123) == 0.123456789
    assert significant(123456789.6) == 123456790.0
    assert significant(0.0123456, 3) == 0.0123
