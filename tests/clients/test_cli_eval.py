"""`rampway eval`: what decides, what is written where, and what a pull request is told."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from cli_builders import Cli

from clients.ci import annotate, disarmed
from clients.exits import Exit
from rampway.gates.evidence import Column
from rampway.gates.plans import OfflinePlan, SliceMode, SlicesPlan
from rampway.release.records import Target
from support import record_builders
from support.record_builders import Kept, Teller, paired_cases

TARGET = Target(name="grammar-tutor", team="tutor")
SPREAD = 7919  # a prime: what a candidate gets wrong is spread over all cases
WORSE, BETTER, OTHERWISE = range(76), range(84), range(10, 90)
TENSES = ("present", "past simple", "future", "imperfect", "subjunctive")


def row(number: int, *, right: bool, **changed: object) -> dict[str, object]:
    return {
        "case_id": f"c{number:04}",
        "passed": right,
        "tense": TENSES[number % 5],
        "person": f"p{number // 5 % 3}",
        "verb": f"v{number // 20}",
        "question": f"Conjugate {number}.",
        "expected": "walked",
        "output": "walked" if right else "walkt",
        "grader": {"name": "set_match", "version": "1"},
        "seed": 7,
        **changed,
    }


def arm(cli: Cli, name: str, right: range, cases: int = 2000, **changed: object) -> str:
    """Results of an arm that knows those of each hundred cases that are in `right`."""
    rows = [row(n, right=n * SPREAD % 100 in right, **changed) for n in range(cases)]
    return str(cli.write(name, "\n".join(json.dumps(one) for one in rows)))


def arms(cli: Cli, right: range) -> tuple[str, str]:
    return arm(cli, "old.jsonl", range(80)), arm(cli, "new.jsonl", right)


def slipped(cli: Cli) -> tuple[str, str]:
    """Better everywhere but in the past simple."""
    old: list[str] = []
    new: list[str] = []
    for n in range(2000):
        known = n * SPREAD % 100 < 70
        better = n * SPREAD % 100 < 85
        lost = n % 5 == 1 and n * SPREAD % 100 < 25
        old.append(json.dumps(row(n, right=known)))
        new.append(json.dumps(row(n, right=better and not lost)))
    return str(cli.write("old.jsonl", "\n".join(old))), str(cli.write("new.jsonl", "\n".join(new)))


def record_here(cli: Cli) -> None:
    """A registry, so that verdicts are kept."""
    cli.register(TARGET)


def test_every_usable_label_is_a_slice_unless_they_are_named(cli: Cli) -> None:
    old, new = arms(cli, BETTER)

    every = cli.json("eval", old, new)
    named = cli.json("eval", old, new, "--by", "tense")

    assert {one["by"] for one in every["slices"]["slices"]} == {"tense", "person"}
    assert {one["by"] for one in named["slices"]["slices"]} == {"tense"}


def test_a_slice_that_lost_blocks_a_candidate_that_is_better_on_average(cli: Cli) -> None:
    result = cli("eval", *slipped(cli))

    lines = result.stdout.splitlines()
    assert result.exit_code == Exit.STOPPED
    assert lines[0].startswith("BREACH: worse in 1 of 8 slices: past simple -")
    assert lines[1].startswith("headline  PASS ")
    assert lines[2].startswith("slices    BREACH  1 of 8 after Holm: past simple -")
    assert max(map(len, lines)) <= 100


def test_a_policy_decides_by_its_numbers(cli: Cli) -> None:
    old, new = arms(cli, OTHERWISE)
    wide = cli.write("wide.yaml", "offline:\n  headline: {margin: 30pp}\n  slices: {by: [tense]}\n")

    strict, lenient = cli("eval", old, new), cli("eval", old, new, "--policy", str(wide))

    assert strict.exit_code == Exit.INCONCLUSIVE
    assert lenient.exit_code == Exit.OK
    assert lenient.stdout.startswith("PASS: not worse, ")


def test_a_policy_names_cluster_and_slices(cli: Cli) -> None:
    policy = cli.write(
        "policy.yaml", "offline:\n  cluster: verb\n  slices: {by: [person], sigma: 3}\n"
    )

    told = cli.json("eval", *arms(cli, BETTER), "--policy", str(policy))

    assert told["headline"]["clusters"] == 100
    assert told["slices"]["sigma"] == 3
    assert {one["by"] for one in told["slices"]["slices"]} == {"person"}


def test_a_broken_policy_is_a_usage_error_with_every_mistake(cli: Cli) -> None:
    policy = cli.write("policy.yaml", "offline:\n  clustr: verb\n  headline: {margin: 200pp}\n")

    result = cli("eval", *arms(cli, BETTER), "--policy", str(policy))

    assert result.exit_code == Exit.USAGE
    assert "policy.yaml:2:3: offline.clustr: unknown key; did you mean cluster?" in result.stderr
    assert "policy.yaml:3:22: offline.headline.margin:" in result.stderr


def test_a_policy_that_plans_safety_is_not_passed_without_its_results(cli: Cli) -> None:
    policy = cli.write("policy.yaml", "offline:\n  safety: {generations: 3}\n")

    result = cli("eval", *arms(cli, BETTER), "--policy", str(policy))

    assert result.exit_code == Exit.USAGE
    assert "--safety-candidate" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--spec", "release.yaml", "--policy", "policy.yaml"),
        ("--spec", "release.yaml", "--by", "tense"),
        ("--policy", "policy.yaml", "--cluster", "verb"),
        ("--output", "md", "--out", "a.md", "--out", "b.md"),
        ("--out", "report.pdf"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(
    cli: Cli, options: tuple[str, ...]
) -> None:
    cli.write("policy.yaml", "offline: {cluster: verb}\n")
    cli.write_spec()

    result = cli("eval", *arms(cli, BETTER), *options)

    assert result.exit_code == Exit.USAGE
    assert "Next: " in result.stderr


def test_the_plain_rule_is_told_beside_what_decides(cli: Cli) -> None:
    quiet = cli("eval", *slipped(cli)).stdout
    loud = cli("eval", *slipped(cli), "--mode", "literal").stdout

    assert "would have" not in quiet
    assert "literal   headline: an unpaired z-test at p < 0.05 would have" in loud
    assert "literal   slices: every slice at 2 sigma would have blocked: past simple" in loud
    assert loud.splitlines()[0] == quiet.splitlines()[0]


def test_examples_are_shown_when_asked_for(cli: Cli) -> None:
    told = cli("eval", *slipped(cli), "--examples", "2").stdout

    assert told.count("regressed  c") == 2
    assert told.count("improved  c") == 2
    assert "  baseline  walked\n  candidate walkt\n" in told


def test_json_has_verdict_disagreements_fingerprints_and_exit_code(cli: Cli) -> None:
    told = cli.json("eval", *slipped(cli))

    assert (told["verdict"], told["exit_code"], told["recorded"]) == ("BREACH", 3, False)
    assert told["fingerprints"]["seeds"] == "seed 7"
    assert told["fingerprints"]["paired_by"] == "case_id"
    assert all(told["fingerprints"][name] for name in ("baseline", "candidate", "dataset"))
    assert told["totals"]["candidate"]["generations"] == 2000
    assert told["disagreements"][0]["new_answer"] == "walkt"
    assert (
        len(told["disagreements"]) == told["headline"]["improved"] + told["headline"]["regressed"]
    )


def test_files_are_written_in_the_form_of_their_ending_and_stdout_stays_empty(cli: Cli) -> None:
    outs = ("out/report.html", "out/comment.md", "out/junit.xml", "out/verdict.json", "out/a.txt")
    options = [part for out in outs for part in ("--out", out)]

    result = cli("eval", *slipped(cli), *options)

    assert result.exit_code == Exit.STOPPED
    assert result.stdout == ""
    assert result.stderr.startswith("BREACH: worse in 1 of 8 slices")
    assert Path("out/report.html").read_text().startswith("<!doctype html>")
    assert Path("out/comment.md").read_text().startswith("<!-- rampway:eval -->")
    assert ET.parse("out/junit.xml").getroot().tag == "testsuites"  # noqa: S314 - ours
    assert json.loads(Path("out/verdict.json").read_text())["verdict"] == "BREACH"
    assert Path("out/a.txt").read_text().startswith("BREACH: worse in 1 of 8 slices")


@pytest.mark.parametrize("form", ["table", "json", "md", "html", "junit"])
def test_stdout_and_a_file_carry_the_same(cli: Cli, form: str) -> None:
    files = slipped(cli)

    shown = cli("eval", *files, "--output", form).stdout
    cli("eval", *files, "--output", form, "--out", "report")

    assert Path("report").read_text() == shown


def test_files_by_another_grader_are_incomparable_in_every_form_and_name_the_field(
    cli: Cli,
) -> None:
    old = arm(cli, "old.jsonl", range(80))
    new = arm(cli, "new.jsonl", BETTER, grader={"name": "set_match", "version": "2"})

    told = cli("eval", old, new)
    facts = cli.json("eval", old, new)

    assert told.exit_code == Exit.STOPPED
    assert told.stdout.startswith("INCOMPARABLE: ")
    assert "grader differs" in told.stdout.splitlines()[0]
    assert max(map(len, told.stdout.splitlines())) <= 100
    assert (facts["verdict"], facts["exit_code"]) == ("INCOMPARABLE", 3)
    assert facts["differs"]["field"] == "grader"
    for form in ("md", "html", "junit"):
        result = cli("eval", old, new, "--output", form)
        assert result.exit_code == Exit.STOPPED
        assert "grader differs" in result.stdout


def test_a_file_that_is_no_result_is_unusable(cli: Cli) -> None:
    old = arm(cli, "old.jsonl", range(80))

    result = cli("eval", old, str(cli.write("new.jsonl", "hello")), "--output", "junit")

    assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
    assert "new.jsonl" in result.stderr


def test_one_file_may_hold_both_arms(cli: Cli) -> None:
    rows: list[dict[str, object]] = [
        {
            "id": f"uuid-{n}-{provider}",
            "testIdx": n,
            "promptIdx": 0,
            "promptId": "p" * 64,
            "prompt": {"raw": f"Conjugate {n}.", "label": "Conjugate"},
            "provider": {"id": provider, "label": provider},
            "vars": {"n": n},
            "success": right,
            "score": float(right),
            "namedScores": {},
            "failureReason": int(not right),
            "gradingResult": {"pass": right, "componentResults": []},
            "response": {"output": "x"},
            "testCase": {
                "description": f"c{n}",
                "vars": {"n": n},
                "metadata": {"case_id": f"c{n}"},
            },
        }
        for n in range(400)
        for provider, right in (("old", n % 5 > 0), ("new", n % 20 > 0))
    ]
    file = str(
        cli.write(
            "both.json",
            json.dumps(
                {
                    "evalId": "eval-1",
                    "results": {"version": 3, "prompts": [], "results": rows, "stats": {}},
                    "config": {},
                    "metadata": {"promptfooVersion": "0.123.1"},
                }
            ),
        )
    )

    alone = cli("eval", file, file)
    told = cli("eval", file, file, "--baseline-part", "old", "--candidate-part", "new")

    assert alone.exit_code == Exit.USAGE
    assert told.exit_code == Exit.OK
    assert told.stdout.startswith("PASS: better by +15.0 pp")


def test_the_first_verdict_stands_for_the_same_seeds_only(cli: Cli) -> None:
    cli.register(TARGET)
    spec = str(cli.write_spec(safety="", slices=""))
    old = arm(cli, "old.jsonl", range(80))
    first = cli("eval", old, arm(cli, "new.jsonl", WORSE), "--spec", spec)

    again = cli("eval", old, arm(cli, "again.jsonl", BETTER), "--spec", spec)
    seeded = cli(
        "eval",
        arm(cli, "old8.jsonl", range(80), seed=8),
        arm(cli, "new8.jsonl", BETTER, seed=8),
        "--spec",
        spec,
    )

    assert (first.exit_code, again.exit_code, seeded.exit_code) == (3, 3, 0)
    assert "this rerun would say PASS" in again.stdout.replace("\n", " ")


def test_safety_cases_cannot_be_left_out_to_get_another_first_verdict(cli: Cli) -> None:
    record_here(cli)
    files = arms(cli, BETTER)
    safe = str(cli.write_safety("safe.jsonl", lambda _: True))
    flipped = str(cli.write_safety("flipped.jsonl", lambda n: n != 7))

    without = cli("eval", *files)
    with_flip = cli("eval", *files, "--safety-baseline", safe, "--safety-candidate", flipped)

    assert (without.exit_code, with_flip.exit_code) == (Exit.OK, Exit.STOPPED)
    assert "s7" in with_flip.stdout


def test_a_rerun_with_other_numbers_says_that_the_first_ones_are_shown(cli: Cli) -> None:
    record_here(cli)
    files = arms(cli, BETTER)
    cli("eval", *files)

    again = cli("eval", *files)
    sliced = cli("eval", *files, "--by", "person")

    assert again.stdout.splitlines()[-1] == "Cached by digest: a rerun changes nothing."
    told = sliced.stdout.replace("\n", " ")
    assert "stands with its numbers; this rerun's differ." in told


def test_github_gets_a_summary_outputs_and_annotations(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", "outputs")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")

    result = cli("eval", *slipped(cli))

    assert Path("outputs").read_text() == "verdict=BREACH\nexit=3\n"
    assert "| tense: past simple | BREACH |" in Path("summary.md").read_text()
    commands = [line for line in result.stdout.splitlines() if line.startswith("::")]
    assert commands[0].startswith("::error title=Offline gate%3A BREACH in tense%3A past simple::-")
    assert " %25 was " in commands[0]


def test_annotations_leave_a_document_on_stdout_alone(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    files = slipped(cli)

    document = cli("eval", *files, "--output", "json")
    written = cli("eval", *files, "--out", "report.json")

    assert json.loads(document.stdout)["verdict"] == "BREACH"
    assert "::error title=" in document.stderr
    assert written.stdout.startswith("::error title=")


def test_nothing_is_annotated_outside_github(cli: Cli) -> None:
    assert "::error" not in cli("eval", *slipped(cli)).output


def test_words_of_a_file_are_no_commands_of_a_ci_log(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    wild = "\r\n::stop-commands::x ##[add-mask]walked"
    old, new = (
        arm(cli, f"arm{known}.jsonl", range(known), 400, output=f"{wild} {known}")
        for known in (100, 75)
    )
    for file in (old, new):
        text = Path(file).read_text().replace('"past simple"', json.dumps(wild))
        Path(file).write_text(text)

    for form in ("table", "json", "md", "html", "junit"):
        result = cli("eval", old, new, "--output", form, "--examples", "5")
        commands = [line for line in result.output.splitlines() if line.lstrip().startswith("::")]
        assert result.exit_code == Exit.STOPPED
        assert all(line.startswith(("::error title=", "::warning title=")) for line in commands)
        assert "##[" not in "".join(set(result.output.splitlines()) - set(commands))
    masked = json.loads(cli("eval", old, new, "--output", "json").stdout)
    assert "##[add-mask]" in masked["disagreements"][0]["new_answer"]


def test_a_command_escapes_its_data(capsys: pytest.CaptureFixture[str]) -> None:
    annotate("error", "100 %: a,b", "line\r\n::warning::no %0A", on_stderr=False)

    assert capsys.readouterr().out == ("::error title=100 %25%3A a%2Cb::line ::warning::no %250A\n")
    assert disarmed("  ::error::x\na ##[group]b") == "  : :error::x\na ## [group]b"


def test_explain_shows_the_slices_of_the_offline_gate_worst_first(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = rejected_with_slices(monkeypatch)
    cli.keep(kept)

    told = cli("explain", kept.record.header.name, "--offline").stdout.splitlines()
    page = cli("report", kept.record.header.name, "--out", "-", "--format", "html").stdout
    comment = cli("report", kept.record.header.name, "--out", "-", "--format", "md").stdout

    assert told[0].startswith("BREACH: the candidate is worse.")
    assert told[2].startswith("slices    BREACH  1 of 5 after Holm: past simple -")
    assert any(line.startswith("literal   slices: every slice at 2 sigma would") for line in told)
    assert "plain rule, slices" in page
    heading = next(i for i, line in enumerate(told) if line.startswith("slice "))
    assert told[heading].endswith("p (Holm)  sigma")
    assert told[heading + 1].startswith("tense: past simple  BREACH ")
    assert max(map(len, told)) <= 100
    assert "<h2>Offline slices</h2>" in page
    assert page.index("tense: past simple") < page.index("tense: imperfect")
    assert "| tense: past simple | BREACH |" in comment


def rejected_with_slices(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A release that lost in the past simple, and whose plan asks for slices by tense."""
    monkeypatch.setattr(
        record_builders,
        "OFFLINE",
        OfflinePlan(clustered=True, slices=SlicesPlan(by=("tense",), mode=SliceMode.LITERAL)),
    )
    cases = paired_cases(improved=0, regressed=0)
    codes = [i % 5 for i in range(len(cases.cases))]
    new = [0.0 if codes[i] == 1 and i % 3 == 0 else score for i, score in enumerate(cases.new)]
    sliced = cases.model_copy(
        update={"new": new, "slices": {"tense": Column(values=list(TENSES), codes=codes)}}
    )
    return Teller().start(sliced).kept()
