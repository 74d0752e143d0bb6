"""Random plans on random tables: no error, no NaN, no PASS on what cannot be counted."""

import pytest
from fuzz_gates import CHUNK, Case, fuzz, random_case, reasons_against, weigh_chunk

from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh


def test_random_tables_break_no_rule() -> None:
    seen, broken = weigh_chunk((0, 1_500))

    assert broken == []
    assert min(seen[v] for v in (Verdict.PASS, Verdict.NO_DATA, Verdict.BREACH)) >= 20


def test_the_rules_would_notice_a_pass_on_broken_evidence() -> None:
    cases = [random_case(number) for number in range(400)]
    passed = [case for case in cases if weigh(case.plan, case.evidence).verdict is Verdict.PASS]

    def without_its_last_row(case: Case) -> Case:
        stream = case.streams[case.deciding[0]]
        stream.rows.pop()
        stream.last_is_usable = False
        return case

    assert not any(list(reasons_against(case)) for case in passed)
    assert all(list(reasons_against(without_its_last_row(case))) for case in passed)
    assert len(passed) >= 10


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_million_random_tables_break_no_rule() -> None:
    assert fuzz(first=CHUNK, tables=1_000_000, processes=2) == 0
