"""What release.yaml may say: every rule, and the mission's numbers where it says nothing."""

from typing import Any

import pytest
import spec_builders
from spec_builders import mistake, mistakes, spec, spec_text

from rampway.gates.plans import Must
from rampway.release.asks import Margin, Quantile
from rampway.release.spec import Spec


def test_the_defaults_are_the_mission() -> None:
    said = spec()

    assert said.error_budget == 0.05
    assert (said.offline.headline.p, said.offline.headline.margin) == (0.05, 0.01)
    assert said.offline.coverage == 1
    assert said.shadow is not None
    assert (said.shadow.rate, said.shadow.judge_mean.p, said.shadow.judge_mean.margin) == (
        0.05, 0.01, 0.03
    )  # fmt: skip
    assert (said.shadow.until_any.time, said.shadow.until_any.pairs) == (3600, 10_000)
    assert [step.percent for step in said.steps] == [1, 5, 25, 100]
    assert [step.must for step in said.steps] == [Must.SCREEN, Must.PROVE, Must.PROVE, Must.SCREEN]
    assert {(step.hold_seconds, step.deadline_seconds) for step in said.steps} == {(1800, 5400)}
    assert (said.canary.look_every, said.canary.holdback, said.canary.coverage) == (10, 0.01, 0.9)
    assert {name: gate.budget for name, gate in said.gates.asked().items()} == {
        "error": 0.25, "latency": 0.15, "refusal": 0.10
    }  # fmt: skip
    assert {gate.tolerance for gate in said.gates.asked().values()} == {1.1}
    assert [step.margins["error"].odds for step in said.steps if step.margins] == [2.0, 1.5]
    assert said.gates.latency is not None
    assert said.gates.latency.at == (Quantile.P50, Quantile.P95, Quantile.P99)
    assert (said.lease, said.after_promotion.watch) == (120, 6 * 3600)


def test_a_spec_prints_back_to_itself_and_its_digest_ignores_spelling() -> None:
    short = spec(lease="2m", canary={"hold": "1h", "steps": [10, 100]})
    long = spec(lease="120s", canary={"hold": "60m", "steps": [{"share": "10%"}, {"share": 100}]})

    assert Spec.model_validate_json(short.model_dump_json()) == short
    assert short.digest == long.digest
    assert short.digest != spec().digest


def test_the_last_of_the_proofs_is_the_tight_one_unless_margins_are_given() -> None:
    steps = [{"share": 10, "must": "PASS"}, 30, 60, 100]

    assumed = spec(canary={"steps": steps}).steps
    told = spec(
        canary={"steps": steps},
        gates={"error": {"margin": [3, 2.5, {"odds": 2, "abs": "1%"}]}, "refusal": "off"},
    ).steps

    assert [step.margins["error"].odds for step in assumed[:3]] == [2.0, 2.0, 1.5]
    assert told[2].margins["error"] == Margin(odds=2, abs=0.01)
    assert "refusal" not in told[2].margins


def test_a_steps_own_terms_win_over_the_canarys() -> None:
    own: dict[str, Any] = {"share": 5, "hold": "1h", "deadline": "5h", "budget": "30%"}
    own["units"] = 900
    own["margin"] = {"error": {"odds": 3, "abs": "2%"}}

    step = spec(canary={"steps": [1, own, 100]}).steps[1]

    assert (step.hold_seconds, step.deadline_seconds) == (3600, 18_000)
    assert (step.budget, step.units) == (0.3, 900)
    assert step.margins["error"] == Margin(odds=3, abs=0.02)
    assert step.margins["latency"].odds == 1.5


def test_the_full_step_keeps_the_holdback() -> None:
    assert spec(canary={"holdback": "2.5%"}).steps[-1].share_bp == 9750


def test_shadow_and_optional_gates_are_switched_off_by_that_word_only() -> None:
    said = spec(shadow="off", gates={"refusal": "off", "latency": "off"})

    assert said.shadow is None
    assert list(said.gates.asked()) == ["error"]
    assert mistakes(spec_builders.SMALLEST + "shadow:\n") == [
        "release.yaml:6:8: shadow: has no value; give one, or remove the key"
    ]


def test_errors_are_always_asked_about() -> None:
    assert mistake(gates={"error": "off"}) == (
        "gates.error: refused [errors decide]: without it a candidate that answers nothing would be "
        "promoted. Next: remove the key, or give it a budget"
    )


def test_a_gate_that_no_evidence_feeds_is_refused_and_says_so() -> None:
    assert mistake(gates={"safety": {"budget": "10%"}}) == (
        "gates.safety: unknown key; no source of live probes is wired yet, offline.safety is; "
        "remove the key"
    )


RULES: list[tuple[str, dict[str, Any], str]] = [
    ("steps climb", {"canary": {"steps": [1, 25, 5, 100]}},
     "canary.steps: steps must climb: 5 % follows 25 %"),
    ("steps do not repeat", {"canary": {"steps": [1, 1, 100]}},
     "canary.steps: steps must climb: 1 % follows 1 %"),
    ("steps end at 100", {"canary": {"steps": [1, 5]}},
     "canary.steps: the last step must be 100 %, not 5 %"),
    ("there are steps", {"canary": {"steps": []}},
     "canary.steps: needs between 1 and 10 steps, got 0"),
    ("a share is whole", {"canary": {"steps": [0.5, 100]}},
     "canary.steps.0.share: needs a whole percentage such as 5, got '0.5'"),
    ("a share is at most 100", {"canary": {"steps": [1, 101]}},
     "canary.steps.1.share: must be a whole percentage between 1 and 100, not '101'"),
    ("steps stay below the last", {"canary": {"steps": [1, 99, 100]}},
     "canary.steps: 99 % is not below the 99 % of the last step, which holds 1 % back"),
    ("a control stays", {"canary": {"holdback": "0%"}},
     ("canary.holdback: refused [no control]: 0 % held back leaves nothing to compare 100 % with. "
      "Next: keep at least 0.1 %, as 1% does")),
    ("shares are basis points", {"shadow": {"rate": "0.015%"}},
     "shadow.rate: must be a multiple of 0.01 %, not 0.015 %"),
    ("one margin per proof", {"gates": {"error": {"margin": [2]}}},
     "gates.error.margin: needs one margin for each step that must PASS (5 %, 25 %), got 1"),
    ("gate budgets fit", {"gates": {"error": {"budget": "80%"}}},
     "gates: the gates' budgets add up to 105 %, over 100 %"),
    ("step budgets fit", {"canary": {"steps": [{"share": 1, "budget": "60%"}, 100]}},
     "canary.steps: the steps' budgets add up to 110 %, over 100 %"),
    ("the full step only screens", {"canary": {"steps": [1, {"share": 100, "must": "PASS"}]}},
     "canary.steps.1.must: the step at 100 % can only screen: its control is the 1 % held back"),
    ("a screen has no margin",
     {"canary": {"steps": [{"share": 1, "margin": {"error": 2}}, 5, 100]}},
     ("canary.steps.0.margin: 1 % only screens and rules nothing out; write must: PASS there, or "
      "remove the margin")),
    ("no margin for a gate that is off",
     {"canary": {"steps": [1, {"share": 5, "margin": {"refusal": 2}}, 100]},
      "gates": {"refusal": "off"}},
     "canary.steps.1.margin.refusal: the gate refusal is off"),
    ("the tolerated can pass", {"gates": {"error": {"tolerance": 1.5}}},
     ("gates.error.tolerance: tolerates odds 1.5, but 25 % has to rule out 1.5; the tolerance must "
      "be smaller")),
    ("a step's deadline is not before its hold",
     {"canary": {"steps": [{"share": 1, "deadline": "10m"}, 100]}},
     "canary.steps.0.deadline: 10 min is before the end of the hold of 1 %, 30 min"),
    ("shadow's deadline is not before its time", {"shadow": {"deadline": "30m"}},
     "shadow.deadline: 30 min is before until_any.time, 60 min"),
    ("one margin of quality per proof", {"gates": {"quality": {"margin": ["0.1sd"]}}},
     "gates.quality.margin: needs one margin for each step that must PASS (5 %, 25 %), got 1"),
    ("a watch proves nothing", {"gates": {"refusal": {"role": "watch", "margin": [2, 1.5]}}},
     ("gates.refusal.margin: the gate refusal only watches and proves nothing; write role: guard, or "
      "remove the margin")),
    ("a watch proves nothing at a step",
     {"canary": {"steps": [1, {"share": 5, "margin": {"refusal": 2}}, 100]},
      "gates": {"refusal": {"role": "watch"}}},
     ("canary.steps.1.margin.refusal: the gate refusal only watches and proves nothing; write "
      "role: guard, or remove the margin")),
    ("judged answers have a reader", {"canary": {"judged_units": 500}},
     ("canary.judged_units: no gate reads judged answers; add gates.quality, or remove the key")),
    ("an A/B judges nothing live",
     {"stages": ["ab"], "on_pass": "report", "gates": {"quality": {"budget": "10%"}}},
     ("gates.quality: only the steps of a canary judge live answers, and the stages have none; "
      "remove the key")),
    ("a report needs no proof",
     {"stages": ["ab"], "on_pass": "report", "gates": {"error": {"margin": [2]}}},
     "gates.error.margin: needs one margin for each step that must PASS (none), got 1"),
    ("stages come in order", {"stages": ["canary", "shadow"]},
     "stages: stages come in the order shadow, canary, ab, each at most once"),
    ("there are stages", {"stages": []}, "stages: needs at least one of shadow, canary, ab"),
    ("a stage is one of three", {"stages": ["shadow", "cannary"]},
     "stages.1: must be shadow, canary or ab, got 'cannary'; did you mean canary?"),
    ("a shadow that is off is no stage", {"shadow": "off", "stages": ["shadow", "canary"]},
     "stages: names shadow, which is off; remove one of both"),
    ("only a canary can be promoted", {"stages": ["shadow", "ab"]},
     ("on_pass: promote needs a canary among the stages (shadow, ab); write on_pass: report")),
    ("a canary does not only report", {"on_pass": "report"},
     ("on_pass: report forbids a canary, which ends at 100 %; the stages are shadow, canary")),
    ("an A/B does not lower the share",
     {"stages": ["shadow", "canary", "ab"], "ab": {"share": "10%"}},
     ("ab.share: 10 % is below the 25 % of the step before; a share that was raised never falls but "
      "to the baseline")),
    ("an A/B stays below the last step",
     {"stages": ["shadow", "canary", "ab"], "canary": {"holdback": "20%"}, "ab": {"share": "80%"}},
     "ab.share: 80 % is not below the 80 % of the last step, which follows"),
    ("an A/B ends before its deadline",
     {"stages": ["ab"], "on_pass": "report", "ab": {"deadline": "1h"}},
     "ab.deadline: 60 min is before the end of the A/B, 48 h"),
    ("an A/B shares the steps' budget",
     {"stages": ["shadow", "canary", "ab"], "ab": {"budget": "60%"}},
     "canary.steps: the steps' and the A/B's budgets add up to 140 %, over 100 %"),
    ("slices name columns", {"offline": {"cases": "a", "slices": {"by": []}}},
     "offline.slices.by: needs between 1 and 8 columns of the cases, got 0"),
    ("slices name a column once", {"offline": {"cases": "a", "slices": {"by": ["x", "x"]}}},
     "offline.slices.by: names a column twice"),
    ("slices have two modes",
     {"offline": {"cases": "a", "slices": {"by": ["x"], "mode": "controled"}}},
     ("offline.slices.mode: must be controlled or literal, got 'controled'; did you mean "
      "controlled?")),
    ("a check is on or off", {"gates": {"sample_ratio": "of"}},
     "gates.sample_ratio: must be on or off, got 'of'; did you mean off?"),
    ("looks fit a lease", {"lease": "15s"},
     ("canary.look_every: a look every 10 s renews a lease of 15 s too seldom; at least 2 looks "
      "must fit")),
    ("a lease is bounded", {"lease": "11m"}, "lease: must be between 1 s and 10 min, not 11 min"),
    ("a hold is bounded", {"canary": {"hold": "31d"}},
     "canary.hold: must be between 1 s and 720 h, not 744 h"),
    ("a level is a small probability", {"offline": {"cases": "a", "headline": {"p": 5}}},
     "offline.headline.p: must be between 0.0001 and 0.5, not 5"),
    ("no quantile twice", {"gates": {"latency": {"at": ["p95", "p95"]}}},
     "gates.latency.at: names a quantile twice"),
    ("quantiles are named", {"gates": {"latency": {"at": ["P95"]}}},
     "gates.latency.at.0: must be p50, p90, p95 or p99, got 'P95'; did you mean p95?"),
    ("one currency", {"costs": {"request": "1 USD", "judge": "1 EUR"}},
     "costs: needs one currency for all prices"),
    ("an upstream is a name", {"serve": {"upstream": "https://host/v1"}},
     "serve.upstream: needs an upstream's name in the gateway's settings, got 'https://host/v1'"),
    ("a pager is a name", {"page": "https://hooks.example/x"},
     "page: needs the name of a pager in the worker's settings, got 'https://hooks.example/x'"),
    ("no credentials in headers", {"serve": {"upstream": "u", "headers": {"Authorization": "x"}}},
     ("serve.headers.Authorization: Authorization is set by the gateway from its own settings, "
      "never by a spec")),
    ("an artifact is whole", {"candidate": {"parameters": {"temperature": 0}}},
     "candidate: needs a prompt or a model: nothing is inherited from the baseline"),
    ("a prompt is a path or a text", {"candidate": {"prompt": {"file": "a", "text": "b"}}},
     "candidate.prompt: needs a path, or {text: …}"),
    ("a baseline is current or a digest", {"baseline": "latest"},
     "baseline: needs current, or an artifact's digest (sha256:…), got 'latest'"),
    ("a unit is one of three", {"unit": "sesion"},
     "unit: must be request, session or user, got 'sesion'; did you mean session?"),
    ("a role is screen or PASS", {"canary": {"steps": [{"share": 1, "must": "pass"}, 100]}},
     "canary.steps.0.must: must be screen or PASS, got 'pass'; did you mean PASS?"),
    ("an owner is named", {"owner": " "}, "owner: needs text, got nothing"),
    ("a target is a name", {"target": "Grammar Tutor"},
     "target: needs a target's name such as grammar-tutor, got 'Grammar Tutor'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"), [rule[1:] for rule in RULES], ids=[r[0] for r in RULES]
)
def test_each_rule_is_told_under_its_key(changed: dict[str, Any], told: str) -> None:
    assert mistake(**changed) == told


@pytest.mark.parametrize("key", ["target", "owner", "candidate", "serve", "offline"])
def test_what_has_no_default_is_asked_for(key: str) -> None:
    text = spec_text(**{key: None})

    found = mistakes(text)

    assert len(found) == 1
    assert f"{key}: is missing; " in found[0]
