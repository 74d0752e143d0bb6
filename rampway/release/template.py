"""The first release.yaml that people see, and the one that the demo runs on."""

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from rampway.release.policies import Policy
from rampway.release.records import Minimums, Target, TargetKind

DEMO_MINIMUMS = Minimums(
    hold_seconds=4,
    shadow_seconds=7,
    shadow_pairs=250,
    lease_seconds=15,
    screen_units=4,
    max_error_budget=0.05,
    max_margin_odds=15,
    max_margin_abs=0.15,
    baseline_units=500,
    coverage=0.75,
)


def init_spec(
    policy: Policy = Policy.MISSION,
    *,
    target: str = "grammar-tutor",
    owner: str = "tutor-dev",
    team: str = "tutor",
    model: str = "provider-v5",
    upstream: str = "provider",
) -> str:
    """The release.yaml that `rampway init` writes: a policy's numbers, each with its meaning."""
    return f"""\
# yaml-language-server: $schema=./.rampway/release.schema.json
target: {_text(target)}          # the endpoint, as `rampway target add` registered it
owner: {_text(owner)}               # who answers for this release
team: {_text(team)}
baseline: current              # what serves today; plan resolves its digest
candidate:                     # all that changes behaviour; nothing is inherited
  prompt: prompts/tutor.md     # a file beside this one, or {{text: "..."}}
  model: {_text(model)}
  parameters: {{temperature: 0}}
serve:                         # how the gateway reaches the candidate
  upstream: {_text(upstream)}           # a name in the gateway's settings, never a URL
  fields: {{model: {_text(model)}}} # merged into each JSON request
unit: request                  # hashed and counted; or session, user
{policy.text}"""


def demo_spec(
    *,
    target: str,
    model: str,
    upstream: str,
    cases: str,
    cluster: str | None = None,
    safety_cases: str | None = None,
    safety_generations: int = 1,
    fields: Mapping[str, JsonValue] | None = None,
    prompt: str | None = None,
    owner: str = "tutor-dev",
    team: str = "tutor",
) -> str:
    """The release.yaml of a demo target: seconds instead of hours, and margins as wide as they need.

    `cases` and `safety_cases` are paths below the file's folder; `prompt` is the prompt's text. The
    numbers are simulated at 160 requests per second: a candidate as good as the baseline is promoted
    in 43 s (.9996 of 20,000 runs), one that fails half of its requests is always rolled back.
    """
    serve: dict[str, JsonValue] = {"upstream": upstream}
    serve["fields"] = dict(fields) if fields is not None else {"model": model}
    candidate: dict[str, JsonValue] = {"model": model}
    if prompt is not None:
        candidate["prompt"] = {"text": prompt}
    # Two points: with 200 clusters and not one answer changed, one point cannot be ruled out.
    offline: dict[str, JsonValue] = {"cases": cases, "headline": {"margin": "2pp"}}
    if cluster is not None:
        offline["cluster"] = cluster
    if safety_cases is not None:
        offline["safety"] = {"cases": safety_cases, "generations": safety_generations}
    return f"""\
# DEMO: seconds instead of hours. A production target accepts none of these times.
target: {_text(target)}
owner: {_text(owner)}
team: {_text(team)}
candidate: {_flow(candidate)}
serve: {_flow(serve)}
error_budget: 0.5%
offline: {_flow(offline)}
shadow:
  rate: 30%
  until_any: {{time: 7s, pairs: 250}}
  deadline: 30s
canary:
  deadline: 30s
  look_every: 1s
  coverage: 75%
  holdback: 1%
  steps:
    - {{share: 1, hold: 4s, budget: 40%, must: screen, units: 4}}
    - share: 5
      hold: 8s
      budget: 20%
      must: PASS
      units: 25
      margin: {{error: {{odds: 15, abs: 15%}}, latency: {{odds: 15, abs: 15%}}}}
    - share: 25
      hold: 6s
      budget: 20%
      must: PASS
      units: 100
      margin: {{error: {{odds: 5, abs: 5%}}, latency: {{odds: 5, abs: 5%}}}}
    - {{share: 100, hold: 5s, budget: 20%, must: screen, units: 4}}
gates:
  error: {{budget: 60%, tolerance: 1.1}}
  latency: {{budget: 40%, tolerance: 2, at: [p95]}}
  refusal: off
lease: 15s
after_promotion: {{watch: 3s}}
"""


def demo_target(name: str) -> Target:
    """A target that allows seconds: one-second slices, time-outs and judge, small exposures."""
    return Target(
        name=name,
        kind=TargetKind.DEMO,
        slice_seconds=1,
        fast_seconds=1,
        timeout_seconds=1,
        judge_seconds=1,
        judge_levels=2,
        minimums=DEMO_MINIMUMS,
    )


# What JSON leaves bare and YAML 1.1 does not let stand, or reads as a line break.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _flow(value: JsonValue) -> str:
    """A value as YAML on one line: JSON is YAML but for a few characters.

    Not with ASCII escapes: JSON writes an emoji as two of them, which YAML reads as two halves.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_BARE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _text(value: str) -> str:
    """A name as it stands, or in quotes where YAML could read something else into it."""
    bare = value[:1].isalpha() and set(value) <= _BARE and value.lower() not in _WORDS
    return value if bare else _flow(value)


_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
