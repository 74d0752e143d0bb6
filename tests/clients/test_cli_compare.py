"""`rampway compare`: what may not be pooled is refused, what was not counted is told, numbers are scipy's."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_builders import Cli
from scipy import stats

from clients.exits import Exit
from support.answer_lines import CANDIDATE, ab, live, pair, write_gold, write_log

LINES = ab(600, old=0.70, new=0.86, slower=1.3)


def compared(cli: Cli, lines: Any, *more: str) -> Any:  # noqa: ANN401 - any JSON
    """What --output json says of a log of these lines."""
    log, gold = write_log(cli.directory / "log", lines), write_gold(cli.directory / "gold.jsonl")
    result = cli("compare", str(log), "--grader", str(gold), *more, "--output", "json")
    assert result.exit_code == Exit.OK, result.output
    return json.loads(result.stdout)


def refused(cli: Cli, lines: Any, *more: str) -> str:  # noqa: ANN401 - any lines
    """The sentence with which a log of these lines is refused, as not comparable."""
    log, gold = write_log(cli.directory / "log", lines), write_gold(cli.directory / "gold.jsonl")
    result = cli("compare", str(log), "--grader", f"set_match:{gold}", *more)
    assert result.exit_code == Exit.STOPPED
    assert result.stdout == ""
    return result.stderr


def of_arm(arm: str) -> list[dict[str, Any]]:
    return [line for line in LINES if line["arm"] == arm]


def right(line: dict[str, Any]) -> bool:
    return bool(line["body"]["answer"] == line["request"]["verb"])


def test_z_of_the_right_answers_is_the_root_of_scipys_chi_square(cli: Cli) -> None:
    told = compared(cli, LINES)["arms"]["correct"]

    old, new = of_arm("baseline"), of_arm("candidate")
    table = [[sum(map(right, arm)), len(arm) - sum(map(right, arm))] for arm in (new, old)]
    square = stats.chi2_contingency(np.array(table), correction=False)
    assert told["baseline"] == {"hits": table[1][0], "units": len(old)}
    assert told["candidate"] == {"hits": table[0][0], "units": len(new)}
    assert told["z"] ** 2 == pytest.approx(square.statistic, rel=1e-6)
    assert told["p"] == pytest.approx(square.pvalue, rel=1e-6)
    assert told["low"] < told["difference"] < told["high"]


def test_latencies_are_percentiles_and_mann_whitney_of_the_lines(cli: Cli) -> None:
    told = compared(cli, LINES)["arms"]["latency"]

    old, new = ([line["latency_ms"] for line in of_arm(arm)] for arm in ("baseline", "candidate"))
    test = stats.mannwhitneyu(new, old, method="asymptotic", use_continuity=True)
    assert told["u"] == pytest.approx(test.statistic)
    assert told["p"] == pytest.approx(test.pvalue, rel=1e-6)
    for name, quantile in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99)):
        expected = np.quantile(new, quantile, method="inverted_cdf")
        assert told["candidate"][name] == pytest.approx(expected)


def test_buckets_are_cut_by_fields_of_the_request(cli: Cli) -> None:
    buckets = compared(cli, LINES, "--by", "tense,verb,mood")["arms"]["buckets"]

    past = next(one for one in buckets if (one["column"], one["value"]) == ("tense", "past"))
    mine = [line for line in of_arm("candidate") if line["request"]["tense"] == "past"]
    assert past["rate"]["candidate"] == {"hits": sum(map(right, mine)), "units": len(mine)}
    assert [one["value"] for one in buckets if one["column"] == "mood"] == ["(none)"]
    assert len([one for one in buckets if one["column"] == "verb"]) == 4


def test_pairs_that_differ_are_improved_regressed_or_neutral(cli: Cli) -> None:
    lines = [
        *(pair(n, old="goed") for n in range(12)),
        *(pair(n, new="wended") for n in range(12, 15)),
        *(pair(n, old="goed", new="wended") for n in range(15, 17)),
        *(pair(n) for n in range(17, 40)),
        pair(40, missing="timeout", candidate={"status": None, "latency_ms": None, "body": None}),
    ]

    pairs = compared(cli, [*LINES, *lines])["pairs"]

    counts = [pairs[name] for name in ("pairs", "improved", "regressed", "neutral", "same")]
    assert counts == [40, 12, 3, 2, 23]
    assert pairs["p"] == pytest.approx(stats.binomtest(3, 15).pvalue, rel=1e-6)


def test_without_copies_a_question_that_both_arms_got_makes_a_pair(cli: Cli) -> None:
    lines = [live(0, "baseline", right=False), live(12, "candidate"), live(1, "baseline")]

    pairs = compared(cli, lines)["pairs"]

    assert (pairs["pairs"], pairs["improved"]) == (1, 1)
    assert pairs["paired_by"] == "the same question, asked once in each arm"


def test_a_better_candidate_is_promoted_and_a_worse_one_retrained(cli: Cli) -> None:
    better = compared(cli, ab(600, old=0.70, new=0.86))
    worse = compared(cli, ab(600, old=0.86, new=0.70))
    unclear = compared(cli, ab(60, old=0.80, new=0.80))

    told = [one["recommendation"] for one in (better, worse, unclear)]
    assert told == ["promote", "retrain", "hold"]


def test_shadow_alone_never_promotes(cli: Cli) -> None:
    told = compared(cli, [pair(n, old="goed") for n in range(100)])
    worse = compared(cli, [pair(n, new="goed") for n in range(100)])

    assert told["recommendation"] == "hold"
    assert "no user was served by the candidate" in told["why"]
    assert worse["recommendation"] == "retrain"


def test_an_ab_that_says_promote_is_held_back_by_pairs_that_got_worse(cli: Cli) -> None:
    pairs = [pair(n, new="goed" if n % 4 == 0 else "right") for n in range(80)]

    told = compared(cli, [*ab(600, old=0.70, new=0.86), *pairs])

    assert told["recommendation"] == "hold"
    assert "20 regressed" in told["why"]


def test_cost_per_correct_answer_is_the_bill_over_the_right_answers(cli: Cli) -> None:
    cost = compared(cli, LINES, "--cost", "baseline=0.002", "--cost", "candidate=0.003")["arms"]

    old = of_arm("baseline")
    expected = 0.002 * len(old) / sum(map(right, old))
    assert cost["cost"]["baseline_per_correct"] == pytest.approx(expected, rel=1e-6)


def test_a_unit_that_asks_again_counts_once_with_its_first_answer(cli: Cli) -> None:
    again = [{**line, "ts": line["ts"] + 1e6, "body": {"answer": "wrong"}} for line in LINES[:50]]

    once, twice = compared(cli, LINES), compared(cli, [*again, *LINES])

    assert twice["arms"] == once["arms"]
    assert twice["manifest"]["dataset"] == once["manifest"]["dataset"]


def test_a_request_in_both_arms_is_a_loud_error_and_left_out(cli: Cli) -> None:
    arms = {"baseline": "candidate", "candidate": "baseline"}
    crossed = [{**line, "arm": arms[line["arm"]], "unit": "f" * 16} for line in LINES[:2]]

    told = compared(cli, [*LINES, *crossed])
    screen = cli("compare", "log", "--grader", "gold.jsonl").stdout

    assert told["recommendation"] == "hold"
    units = [told["arms"]["correct"][arm]["units"] for arm in ("baseline", "candidate")]
    assert sum(units) == len(LINES) - 2
    assert told["errors"][0].endswith("are left out: u0 and u1")
    assert "ERROR: 2 requests had answers from both arms" in screen


def test_broken_lines_are_named_on_every_screen(cli: Cli) -> None:
    told = compared(cli, [*LINES[:300], "{torn", *LINES[300:]])
    screen = cli("compare", "log", "--grader", "gold.jsonl", "-o", "r.md").stdout

    assert told["errors"][1] == "  line 301 is not JSON: {torn"
    assert told["manifest"]["log"] == {
        **told["manifest"]["log"],
        "lines": 601,
        "live": 600,
        "bad": [301],
    }
    assert "line 301 is not JSON" in screen
    assert "Log: 601 lines = 600 live answers + 0 copied requests + 1 unusable." in screen
    assert "line 301 is not JSON" in Path("r.md").read_text()


def test_no_answer_is_wrong_but_what_was_not_kept_is_not_graded(cli: Cli) -> None:
    lines = [
        live(0, "baseline", error="connect", status=502, body=None),
        live(1, "baseline", error="status_500", status=500, body={"error": "lost"}),
        live(2, "baseline", body=None),
        live(3, "baseline", error="aborted", status=None, body=None),
        live(4, "baseline", request={"case_id": "unheard of"}),
        live(5, "baseline"),
        live(6, "candidate"),
    ]

    told = compared(cli, lines)
    screen = cli("compare", "log", "--grader", "gold.jsonl").stdout

    assert told["arms"]["correct"]["baseline"] == {"hits": 1, "units": 3}
    assert told["arms"]["harms"][0]["baseline"] == {"hits": 2, "units": 6}
    assert told["arms"]["latency"]["baseline"]["p99"] is None
    assert (
        "Not graded, baseline: 1 no gold answer for the request, 1 the answer was not kept, "
        "1 the caller left." in screen
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epoch": 2}, "mixes epochs: 1, 2. Next: choose one with --epoch"),
        ({"target": "other"}, "mixes targets: other, tutor"),
        (
            {"artifacts": {"baseline": CANDIDATE, "candidate": CANDIDATE}},
            "mixes baseline artifacts",
        ),
        ({"share_bp": 100, "segment": 1}, "mixes shares: 1 % (segment 1), 50 % (segment 2)"),
        (
            {"grader": "set_match/0/sha256:beef"},
            "mixes graders: its lines were scored by set_match/0",
        ),
    ],
)
def test_what_may_not_be_pooled_is_refused_by_name(
    cli: Cli, changed: dict[str, object], words: str
) -> None:
    told = refused(cli, [*LINES, live(700, "baseline", **changed)])

    assert told.startswith("INCOMPARABLE: ")
    assert words in told


def test_one_epoch_and_one_segment_can_be_chosen(cli: Cli) -> None:
    other = [live(n, "candidate", epoch=2) for n in range(700, 720)]
    early = [live(n, "baseline", segment=1, share_bp=100) for n in range(800, 820)]

    told = compared(cli, [*LINES, *other, *early], "--epoch", "1", "--segment", "2")

    assert told["arms"] == compared(cli, LINES)["arms"]
    assert "No line of the log" in refused(cli, LINES, "--epoch", "9")


def test_another_grader_than_the_baselines_fails_loudly_and_names_both(cli: Cli) -> None:
    log = write_log(cli.directory / "log", LINES)
    first, second = (
        write_gold(cli.directory / "first.jsonl"),
        write_gold(cli.directory / "second.jsonl", also="went"),
    )

    cli("compare", str(log), "--grader", str(first), "--manifest", "old.json")
    same = cli("compare", str(log), "--grader", str(first), "--baseline-manifest", "old.json")
    other = cli(
        *("compare", str(log), "--grader", str(second), "--baseline-manifest", "old.json"),
        *("-o", "never.html"),
    )

    digests = [json.loads(Path("old.json").read_bytes())["grader"]]
    cli("compare", str(log), "--grader", str(second), "--manifest", "new.json")
    digests.append(json.loads(Path("new.json").read_bytes())["grader"])
    assert same.exit_code == Exit.OK
    assert other.exit_code == Exit.STOPPED
    assert digests[0] != digests[1]
    assert all(digest in other.stderr for digest in digests)
    assert not Path("never.html").exists()


@pytest.mark.parametrize(
    ("grader", "words"),
    [
        ("none.jsonl", "cannot be read"),
        ("vibes:gold.jsonl", "There is no grader 'vibes'"),
        ("log", "case_id: Field required"),
    ],
)
def test_a_grader_that_is_not_there_is_a_usage_error(cli: Cli, grader: str, words: str) -> None:
    write_log(cli.directory / "log", LINES)
    write_gold(cli.directory / "gold.jsonl")

    result = cli("compare", "log", "--grader", grader)

    assert result.exit_code == Exit.USAGE
    assert words in result.stderr


def test_the_same_log_gives_the_same_bytes_whatever_their_names(cli: Cli) -> None:
    write_log(cli.directory / "log", [*LINES, *(pair(n, old="goed") for n in range(9))])
    write_gold(cli.directory / "gold.jsonl")
    asked = ("compare", "log", "--grader", "gold.jsonl", "--by", "tense", "--seed", "load=7")

    cli(*asked, "-o", "one/r.html", "-o", "one/r.md")
    cli(*asked, "-o", "two/other.html", "-o", "two/other.md", "--manifest", "two/m.json")

    assert Path("one/manifest.json").read_bytes() == Path("two/m.json").read_bytes()
    assert Path("one/r.html").read_bytes() == Path("two/other.html").read_bytes()
    manifest = json.loads(Path("one/manifest.json").read_bytes())
    assert manifest["seeds"] == {"load": "7"}
    assert manifest["traffic"]["share_bp"] == 5_000
    assert manifest["artifacts"]["candidate"] == CANDIDATE
    assert manifest["reports"].keys() == {"html", "md"}


def test_the_order_of_the_lines_changes_no_number(cli: Cli) -> None:
    shuffled = random.Random(3).sample(LINES, len(LINES))

    told, other = compared(cli, LINES), compared(cli, shuffled)

    assert told["arms"] == other["arms"]
    assert told["manifest"]["dataset"] == other["manifest"]["dataset"]
    assert told["manifest"]["log"]["digest"] != other["manifest"]["log"]["digest"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("-o", "r.pdf"), "a report is a .md or an .html file"),
        (("--cost", "control=1"), "the arms are baseline and candidate"),
        (("--cost", "baseline=nan"), "a price is a number of 0 or more"),
        (("--seed", "7"), "write it as NAME=VALUE"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    cli: Cli, option: tuple[str, str], words: str
) -> None:
    write_log(cli.directory / "log", LINES)

    result = cli("compare", "log", "--grader", "gold.jsonl", *option)

    assert result.exit_code == Exit.USAGE
    assert words in result.output
