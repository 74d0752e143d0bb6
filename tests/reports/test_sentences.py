import re

import pytest
from kept_dossiers import dossier, kept

from rampway.reports.dossier import assemble
from rampway.reports.sentences import ending, gate_title, headline
from support.record_builders import aborted


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("promoted", "It was promoted to 100 %: every step held and no gate was in BREACH."),
        (
            "rolled_back_by_error",
            "It rolled back because the candidate failed 3.1 % of its requests, the baseline 0.9 %.",
        ),
        (
            "rolled_back_by_latency",
            (
                "It rolled back because 11.7 % of the candidate's requests took longer than 2.40 s, "
                "of the baseline's 5.0 %."
            ),
        ),
        (
            "rolled_back_in_shadow",
            (
                "It rolled back because on 350 copies of live requests the judge's scores lost "
                "37 levels and gained 9."
            ),
        ),
        (
            "rejected_offline",
            (
                "It was rejected before any traffic because it answered 74.9 % of 14,400 cases right, "
                "the baseline 79.0 %."
            ),
        ),
        (
            "aborted",
            'It rolled back because sre-oncall aborted it at CANARY 25 %, "provider incident".',
        ),
        (
            "overridden",
            (
                "It was promoted to 100 % with 1 override: search-dev let false_positive through at "
                'CANARY 5 %, "template change (REL-2210)".'
            ),
        ),
        (
            "missed_deadline",
            (
                "It rolled back because CANARY 5 % was not decided by its deadline: false_positive "
                "INCONCLUSIVE (6,871 units short)."
            ),
        ),
        (
            "lost_control",
            (
                "It rolled back because control of its traffic was lost at CANARY 1 %: the lease "
                "could not be renewed and has run out."
            ),
        ),
        (
            "stranded",
            (
                "It is STRANDED, its candidate may still be served, and it had to go back because "
                "the candidate failed 28.0 % of its requests, the baseline 1.2 %."
            ),
        ),
        (
            "undone_after_promotion",
            (
                "It was undone after its promotion because the candidate failed 9.6 % of its "
                "requests, the control's last rate was 1.0 %."
            ),
        ),
        (
            "running_paused",
            (
                "It serves 1 % and does not climb: sre-oncall paused it, "
                '"unrelated alert". The watch is on.'
            ),
        ),
    ],
)
def test_every_ending_is_told_in_one_sentence(name: str, sentence: str) -> None:
    assert headline(dossier(name)) == sentence


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("promoted", "PROMOTED: every step held"),
        ("overridden", "PROMOTED: 1 override"),
        ("rolled_back_by_error", "ROLLED_BACK: error BREACH at 5 %"),
        ("rolled_back_in_shadow", "ROLLED_BACK: judge mean BREACH in shadow"),
        ("rejected_offline", "REJECTED: the offline gate did not pass"),
        ("aborted", "ROLLED_BACK: aborted by sre-oncall at 25 %"),
        ("stranded", "STRANDED: error BREACH at 5 %"),
        ("running_paused", "PAUSED in CANARY 1 % by sre-oncall"),
    ],
)
def test_the_short_ending_needs_no_stored_evidence(name: str, words: str) -> None:
    assert ending(kept(name).record) == words


def test_a_breach_whose_verdict_is_lost_is_told_with_what_the_pin_knows() -> None:
    told = headline(assemble(kept("rolled_back_by_error").record, {}))

    assert told.startswith(
        "It rolled back because error was in BREACH at CANARY 5 %: error: 20 errors"
    )
    assert re.search(r"its verdict [0-9a-f]{6} is not in the record\.$", told)


def test_an_abort_without_a_reason_does_not_quote_one() -> None:
    release = aborted(reason="")

    told = headline(assemble(release.record, release.blobs))

    assert told == "It rolled back because sre-oncall aborted it at CANARY 25 %."


def test_a_gate_without_words_of_its_own_is_told_by_its_name() -> None:
    assert gate_title("tool_calls") == "tool_calls"
    assert gate_title("latency p95") == "Slow answers (latency p95)"
    assert gate_title("error") == "Errors"
