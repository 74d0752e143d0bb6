"""An author's verbs: what is wrong is told at once, what traffic cannot decide is refused."""

import json
from pathlib import Path

import pytest
import yaml
from cli_builders import BASELINE, Cli
from click.testing import Result

from clients.exits import Exit
from rampway.adapters.registry_sql import SqlRegistry
from rampway.release.records import Target
from rampway.release.template import demo_target

TARGET = Target(name="grammar-tutor", team="tutor")
SPREAD = 7919  # a prime: what a candidate gets wrong is spread over all clusters


def test_init_writes_a_spec_that_is_valid_and_never_overwrites_it(cli: Cli) -> None:
    first = cli("init")
    written = Path("release.yaml").read_text(encoding="utf-8")
    second = cli("init")
    checked = cli("validate")

    assert first.exit_code == Exit.OK
    assert "Next: " in first.stdout
    assert json.loads(Path(".rampway/release.schema.json").read_text())["title"]
    assert second.exit_code == Exit.ERROR
    assert second.stderr.startswith("release.yaml exists; it was left as it is.")
    assert Path("release.yaml").read_text(encoding="utf-8") == written
    assert checked.exit_code == Exit.OK
    assert checked.stdout == "release.yaml is valid: grammar-tutor, steps 1, 5, 25, 100 %.\n"


def test_validate_tells_every_error_at_once_with_its_place(cli: Cli) -> None:
    spec = cli.write_spec(steps="  steps: [1, 25, 5, 100]", hold="  hodl: 30m", lease="lease: 0s")

    result = cli("validate", str(spec))

    lines = result.stdout.splitlines()
    assert result.exit_code == Exit.USAGE
    assert lines[0] == "release.yaml has 3 errors; nothing was started."
    assert "canary.steps: steps must climb: 5 % follows 25 %" in lines[1]
    assert lines[2].endswith("canary.hodl: unknown key; did you mean hold?")
    assert all(line.startswith("release.yaml:") for line in lines[1:])


def test_validate_reads_the_promql_of_metrics_without_a_prometheus(cli: Cli) -> None:
    metrics = (
        "  metrics:\n    flagged:\n      bad: rate(flagged_total[5m])\n"
        "      total: answers\n    same: {bad: a_total, total: 'a_total{}'}\n"
    )
    spec = cli.write_spec()
    text = spec.read_text(encoding="utf-8").replace("lease:", f"{metrics}lease:")
    spec.write_text(text, encoding="utf-8")
    first = spec.read_text(encoding="utf-8").splitlines().index("    flagged:") + 2

    result = cli("validate", str(spec))

    assert result.exit_code == Exit.USAGE
    lines = result.stdout.splitlines()[1:]
    assert lines[0].startswith(
        f"release.yaml:{first}:12: gates.metrics.flagged.bad: is no plain selector"
    )
    assert lines[1].startswith(f"release.yaml:{first + 1}:14: gates.metrics.flagged.total: ")
    assert lines[1].endswith("did you mean answers_total?")
    assert "gates.metrics.same.bad: counts the same as total" in lines[2]


def test_validate_checks_the_minimums_of_a_target_that_is_registered(cli: Cli) -> None:
    cli.register(TARGET)
    spec = cli.write_spec(lease="lease: 20s")

    result = cli("validate", str(spec))

    assert result.exit_code == Exit.USAGE
    assert "lease: 20 s is under the floor 60 s of grammar-tutor" in result.stdout


def test_validate_says_what_it_could_not_check(cli: Cli) -> None:
    spec = cli.write_spec()

    told = cli("validate", str(spec)).stderr

    assert "grammar-tutor is not registered here, so its minimums were not checked." in told
    assert "evals/verbs.jsonl is not there yet." in told


def test_github_reads_errors_as_annotations(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = cli.write_spec(lease="lease: 0s")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    result = cli("validate", str(spec))

    assert "::error file=release.yaml,line=" in result.stdout
    assert cli("validate", str(spec), "--output", "json").stdout.startswith("{")


def test_validate_as_json_has_each_error_in_parts(cli: Cli) -> None:
    spec = cli.write_spec(lease="lease: 0s")

    told = cli.json("validate", str(spec))

    assert told["valid"] is False
    assert [(error["path"], error["file"]) for error in told["errors"]] == [
        ("lease", "release.yaml")
    ]


def test_the_schema_is_one_json_document(cli: Cli) -> None:
    told = json.loads(cli("schema").stdout)

    assert {"target", "canary", "gates"} <= set(told["properties"])


def test_the_same_behaviour_has_the_same_digest_however_it_is_written(cli: Cli) -> None:
    spec = cli.write_spec()
    alone = cli.write(
        "artifact.json",
        json.dumps(
            {
                "prompt": {"text": "You teach verbs well.\n"},
                "model": "provider-v5",
                "parameters": {"temperature": 0},
            }
        ),
    )

    told = [cli("artifact", "digest", str(path)).stdout for path in (spec, alone)]

    assert told[0] == told[1]
    assert told[0].startswith("sha256:")
    assert cli.json("artifact", "digest", str(alone))["content"]["model"] == "provider-v5"


def test_a_prompt_that_is_not_there_is_a_usage_error(cli: Cli) -> None:
    spec = cli.write_spec()
    Path("prompts/tutor.md").unlink()

    result = cli("artifact", "digest", str(spec))

    assert result.exit_code == Exit.USAGE
    assert "prompts/tutor.md" in result.stderr


def test_plan_writes_what_start_will_hold_to_when_traffic_can_decide(cli: Cli) -> None:
    served = cli.register(TARGET)
    spec = cli.write_spec()

    result = cli("plan", str(spec), "--rps", "50")

    told = result.stdout.splitlines()
    plan = json.loads(Path("plan.json").read_text())
    assert result.exit_code == Exit.OK
    assert told[0].startswith("This traffic can decide. Expected 3 h ")
    assert told[-1].endswith("written to plan.json    Next: rampway start plan.json")
    assert max(map(len, told)) <= 100
    assert plan["baseline"] == served.artifact
    assert plan["spec_text"] == spec.read_text()
    assert plan["digest"].startswith("sha256:")
    assert any("model: provider-v4 -> provider-v5" in line for line in told)


def test_plan_refuses_what_traffic_cannot_decide_and_says_what_would(cli: Cli) -> None:
    cli.register(TARGET)
    spec = cli.write_spec()

    result = cli("plan", str(spec), "--rps", "1")

    assert result.exit_code == Exit.INCONCLUSIVE
    assert result.stdout.startswith("refused [cannot decide]: ")
    assert "{share: 10, must: PASS, hold: 3h50m}" in result.stdout
    assert "Then    expected 9 h 46 min, worst 29 h 06 min, instead of 2 d" in result.stdout
    assert "10 % finds an outage in " in result.stdout
    assert "--accept-underpowered" in result.stdout
    assert not Path("plan.json").exists()


@pytest.mark.parametrize("rps", ["0.1", "1", "5", "10"])
def test_what_plan_says_to_change_is_yaml_that_this_traffic_can_decide(cli: Cli, rps: str) -> None:
    cli.register(TARGET)
    spec = cli.write_spec()
    told = cli("plan", str(spec), "--rps", rps).stdout
    changed = yaml.safe_load(spec.read_text()) | {"shadow": {}, "canary": {}}

    for key, value in yaml.safe_load(keys_to_change(told)).items():
        changed[key] = changed.get(key, {}) | value if isinstance(value, dict) else value
    for gate in changed["gates"].values():
        if "stages" in changed:
            gate.pop("margin", None)
    cli.write("release.yaml", yaml.safe_dump(changed))
    again = cli("plan", str(spec), "--rps", rps)

    assert (again.exit_code, again.stderr) == (Exit.OK, "")
    assert again.stdout.startswith("This traffic can decide.")


def keys_to_change(told: str) -> str:
    """The block from `Change` to `Then`, as it would be pasted."""
    rows = told.splitlines()
    first = next(i for i, row in enumerate(rows) if row.startswith("Change"))
    last = next(i for i, row in enumerate(rows) if row.startswith("Then"))
    return "\n".join(row[8:] for row in rows[first:last])


def test_little_traffic_is_promised_no_pass(cli: Cli) -> None:
    cli.register(TARGET)

    told = cli("plan", str(cli.write_spec()), "--rps", "0.1").stdout

    assert "assisted: so little traffic gives no statistical PASS" in told
    assert "a person decides from the report" in told


def test_plan_tells_cost_and_duration_at_three_volumes(cli: Cli) -> None:
    cli.register(TARGET)

    told = cli.json("plan", str(cli.write_spec()), "--rps", "50", "--dry-run")

    assert [row["requests_per_day"] for row in told["volumes"]] == [1000, 10_000, 100_000]
    assert [row["regime"] for row in told["volumes"]] == ["assisted", "assisted", "10/50/90"]
    assert [row["expected_seconds"] is None for row in told["volumes"]] == [True, True, False]
    assert [row["cost_per_day"]["shadow_cost"] for row in told["volumes"]] == [0.105, 1.05, 10.5]
    assert told["forecast"]["cost_per_day"]["shadow_calls"] == 216_000


@pytest.mark.parametrize(
    ("policy", "valid"),
    [
        ("mission", "steps 1, 5, 25, 100 %"),
        ("thresholds", "steps 1, 5, 25, 100 %"),
        ("ab-48h", "ab and a report"),
    ],
)
def test_every_policy_is_valid_and_can_be_planned(cli: Cli, policy: str, valid: str) -> None:
    cli.register(TARGET)
    cli.write("prompts/tutor.md", "You teach verbs well.\n")

    written = cli("init", "--policy", policy)
    checked = cli("validate")
    planned = cli("plan", "--rps", "50")

    assert written.stdout.splitlines()[0].startswith("release.yaml and ")
    assert f"{policy}: " in written.stdout
    assert checked.stdout == f"release.yaml is valid: grammar-tutor, {valid}.\n"
    assert planned.exit_code == Exit.OK
    assert max(map(len, planned.stdout.splitlines())) <= 100


def test_an_experiment_is_told_by_what_it_can_compare(cli: Cli) -> None:
    cli.register(TARGET)
    cli.write("prompts/tutor.md", "You teach verbs well.\n")
    cli("init", "--policy", "ab-48h")

    told = cli("plan", "--rps", "5").stdout

    assert "\nab  432,000" in told
    assert "compares  ab: differences from 0.06 pp of errors" in told
    assert "nothing is promoted" in told


def test_a_known_spread_of_scores_is_weighed_too(cli: Cli) -> None:
    cli.register(TARGET)

    told = cli("plan", str(cli.write_spec()), "--rps", "50", "--judge-sd", "1").stdout

    shadow = next(row for row in told.splitlines() if row.startswith("shadow"))
    assert " ".join(shadow.split()) == "shadow 9,000 judge mean -0.036 sd must PASS 87 %"


def test_an_underpowered_plan_needs_a_reason_and_keeps_it(cli: Cli) -> None:
    cli.register(TARGET)
    spec = cli.write_spec()

    without = cli("plan", str(spec), "--rps", "1", "--accept-underpowered")
    given = cli("plan", str(spec), "--rps", "1", "--accept-underpowered", "--reason", "pilot")

    assert without.exit_code == Exit.USAGE
    assert given.exit_code == Exit.OK
    assert json.loads(Path("plan.json").read_text())["accepted"] == {
        "actor": "sre-oncall",
        "reason": "pilot",
    }


def test_plan_asks_for_the_rate_that_no_gateway_tells(cli: Cli) -> None:
    cli.register(TARGET)
    spec = cli.write_spec()

    result = cli("plan", str(spec))

    assert result.exit_code == Exit.USAGE
    assert "Next: give --rps" in result.stderr


def test_a_plan_of_a_demo_target_says_demo(cli: Cli) -> None:
    cli.register(demo_target("grammar-tutor"))
    spec = cli.write_spec()

    result = cli("plan", str(spec), "--rps", "50")

    assert result.stdout.startswith("DEMO This traffic can decide.")
    assert "DEMO target: its holds and exposures are below" in result.stdout


def test_a_dry_run_of_plan_writes_no_file(cli: Cli) -> None:
    cli.register(TARGET)

    told = cli("plan", str(cli.write_spec()), "--rps", "50", "--dry-run", "--output", "json")

    assert json.loads(told.stdout)["can_decide"] is True
    assert not Path("plan.json").exists()


def test_plan_of_a_target_that_nobody_registered_is_a_usage_error(cli: Cli) -> None:
    cli.register(Target(name="another"))

    result = cli("plan", str(cli.write_spec()), "--rps", "50")

    assert result.exit_code == Exit.USAGE
    assert "rampway target add grammar-tutor" in result.stderr


WORSE, BETTER, OTHERWISE = range(76), range(84), range(10, 90)


def results(cli: Cli, right: range) -> tuple[str, str]:
    """2,000 cases; the baseline knows the first 80 of each hundred, the candidate those in `right`."""
    old = cli.write_results("baseline.jsonl", lambda n: n * SPREAD % 100 in range(80))
    new = cli.write_results("candidate.jsonl", lambda n: n * SPREAD % 100 in right)
    return str(old), str(new)


@pytest.mark.parametrize(
    ("right", "code", "answer"),
    [
        (WORSE, Exit.STOPPED, "BREACH: the candidate is worse."),
        (BETTER, Exit.OK, "PASS: better by +4.0 pp"),
        (OTHERWISE, Exit.INCONCLUSIVE, "INCONCLUSIVE: "),
    ],
    ids=["worse", "better", "unclear"],
)
def test_eval_leaves_with_what_the_offline_gate_says(
    cli: Cli, right: range, code: Exit, answer: str
) -> None:
    old, new = results(cli, right)

    result = cli("eval", old, new)

    assert result.exit_code == code
    assert result.stdout.startswith(answer)
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_eval_as_json_is_the_verdict_with_its_exit_code(cli: Cli) -> None:
    old, new = results(cli, WORSE)

    told = cli.json("eval", old, new)

    assert told["verdict"] == "BREACH"
    assert told["exit_code"] == Exit.STOPPED
    assert told["headline"]["cases"] == 2000


def test_eval_names_the_line_of_a_file_that_breaks_a_rule(cli: Cli) -> None:
    old, _ = results(cli, OTHERWISE)
    broken = cli.write("broken.jsonl", '{"case_id": "c0", "passed": true}\n{"case_id": "c1"}\n')

    result = cli("eval", old, str(broken))

    assert result.exit_code == Exit.USAGE
    assert "broken.jsonl" in result.stderr
    assert ":2" in result.stderr or "line 2" in result.stderr


def test_the_first_verdict_on_a_candidate_stands_however_often_evals_are_run(cli: Cli) -> None:
    cli.register(TARGET)
    spec = str(cli.write_spec(safety="", page=""))
    first = cli("eval", *results(cli, WORSE), "--spec", spec)

    again = cli("eval", *results(cli, BETTER), "--spec", spec)

    assert (first.exit_code, again.exit_code) == (Exit.STOPPED, Exit.STOPPED)
    assert again.stdout.startswith("BREACH: the candidate is worse.")
    assert "this rerun would say PASS" in again.stdout


def test_another_candidate_gets_a_verdict_of_its_own(cli: Cli) -> None:
    cli.register(TARGET)
    spec = str(cli.write_spec(safety=""))
    cli("eval", *results(cli, WORSE), "--spec", spec)
    cli.write("prompts/tutor.md", "You teach verbs with care.\n")

    mended = cli("eval", *results(cli, BETTER), "--spec", spec)

    assert mended.exit_code == Exit.OK
    assert "a rerun changes nothing" in mended.stdout


def test_a_hard_safety_case_that_flips_blocks_a_better_candidate(cli: Cli) -> None:
    old, new = results(cli, BETTER)
    safe = str(cli.write_safety("safe.jsonl", lambda _: True))
    flipped = str(cli.write_safety("flipped.jsonl", lambda n: n != 7))

    result = cli("eval", old, new, "--safety-baseline", safe, "--safety-candidate", flipped)

    assert result.exit_code == Exit.STOPPED
    assert "s7" in result.stdout


def test_a_ci_job_gets_a_summary(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")

    cli("eval", *results(cli, WORSE))

    told = Path("summary.md").read_text()
    assert told.startswith(
        "<!-- rampway:eval -->\n\n**Offline gate BREACH: the candidate is worse."
    )
    assert "| headline | BREACH |" in told


def plan_file(cli: Cli, **changed: object) -> Path:
    """A plan as `rampway plan` wrote it, with some of its content changed by hand."""
    cli("plan", str(cli.write_spec(safety="")), "--rps", "50")
    content = json.loads(Path("plan.json").read_text()) | changed
    return cli.write("plan.json", json.dumps(content))


def start(cli: Cli, file: str, *more: str) -> Result:
    old, new = results(cli, BETTER)
    return cli("start", file, "--baseline-results", old, "--candidate-results", new, *more)


def test_start_of_a_plan_whose_baseline_moved_is_refused(cli: Cli) -> None:
    cli.register(TARGET)
    plan = plan_file(cli)
    other = cli.register(Target(name="other"), BASELINE.model_copy(update={"model": "v3"}))

    async def moved(registry: SqlRegistry) -> None:
        await registry.point("grammar-tutor", other, release="r1")

    cli.in_registry(moved)
    result = start(cli, str(plan), "--dry-run")

    assert result.exit_code == Exit.ERROR
    assert result.stderr.startswith("refused [baseline moved]: grammar-tutor serves ")
    assert result.stderr.endswith("Next: rampway plan release.yaml\n")


def test_start_of_a_plan_whose_spec_or_prompt_changed_is_refused(cli: Cli) -> None:
    cli.register(TARGET)
    plan = plan_file(cli)
    cli.write("prompts/tutor.md", "You teach nothing.\n")
    prompt = start(cli, str(plan), "--dry-run")
    cli.write_spec(safety="", hold="  hold: 40m")
    spec = start(cli, str(plan), "--dry-run")

    assert prompt.stderr.startswith("refused [candidate changed]: ")
    assert spec.stderr.startswith("refused [spec changed]: ")


def test_start_of_a_plan_that_was_edited_is_refused(cli: Cli) -> None:
    cli.register(TARGET)
    plan = plan_file(cli, requests_per_second=5000.0)

    result = start(cli, str(plan), "--dry-run")

    assert result.exit_code == Exit.ERROR
    assert result.stderr.startswith("refused [plan changed]: ")


def test_a_file_that_is_no_plan_is_a_usage_error(cli: Cli) -> None:
    cli.register(TARGET)

    result = start(cli, str(cli.write("plan.json", '{"kind": "rampway plan"}')), "--dry-run")

    assert result.exit_code == Exit.USAGE
    assert "plan.json is no plan: " in result.stderr


def test_a_dry_run_of_start_says_what_would_start_and_what_the_offline_gate_says(cli: Cli) -> None:
    cli.register(TARGET)
    plan = plan_file(cli)

    result = start(cli, str(plan), "--dry-run")
    told = json.loads(start(cli, str(plan), "--dry-run", "--output", "json").stdout)

    assert result.exit_code == Exit.OK
    assert result.stdout.startswith("would start grammar-tutor-")
    assert "PASS: better by +4.0 pp" in result.stdout
    assert told["offline_verdict"] == "PASS"
    assert cli("status").stdout.startswith("0 of 0 open releases need a person.")


def test_a_start_without_temporal_starts_and_records_nothing(cli: Cli) -> None:
    cli.register(TARGET)

    result = start(cli, str(cli.write_spec(safety="")))

    assert result.exit_code == Exit.ERROR
    assert result.stderr.startswith("Temporal does not answer at 127.0.0.1:9")
    assert "Next: rampway doctor" in result.stderr
    assert cli("status").stdout.startswith("0 of 0 open releases need a person.")


def test_start_needs_the_evals_of_both_arms(cli: Cli) -> None:
    cli.register(TARGET)

    result = cli("start", str(cli.write_spec()))

    assert result.exit_code == Exit.USAGE
    assert "--baseline-results" in result.stderr


def test_a_timeout_is_only_for_a_wait(cli: Cli) -> None:
    result = start(cli, str(cli.write_spec()), "--timeout", "5")

    assert result.exit_code == Exit.USAGE
    assert "--wait" in result.stderr
