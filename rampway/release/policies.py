"""The policies that `rampway init` offers: how a release is decided, each number with its meaning."""

from enum import StrEnum


class Policy(StrEnum):
    """A way to decide, ready to be written into a release.yaml."""

    MISSION = "mission"
    THRESHOLDS = "thresholds"
    AB_48H = "ab-48h"

    @property
    def means(self) -> str:
        """What it is, in a few words."""
        return MEANINGS[self]

    @property
    def text(self) -> str:
        """The lines of release.yaml from the offline gate on to the end."""
        return BODIES[self]


MEANINGS = {
    Policy.MISSION: "shadow, then 1, 5, 25, 100 %; harm is found and harmlessness proven",
    Policy.THRESHOLDS: "the older rule, made sequential: false positives and errors +5 %, latency +50 %",
    Policy.AB_48H: "both arms side by side for two days; it reports and promotes nothing",
}

OFFLINE = """\
error_budget: 5%               # harmless releases rolled back
offline:                       # before any traffic
  cases: evals/verbs.jsonl
  cluster: verb                # cases of one verb are not independent
  headline: {p: 0.05, margin: 1pp}
  slices: {by: [tense, class], sigma: 2, mode: controlled}  # Holm decides over all kinds
  safety: {cases: evals/safety.jsonl, generations: 3}  # no flip allowed
"""

CLIMB = """\
shadow:                        # copies of requests; nothing is returned to the caller
  rate: 5%
  until_any: {time: 1h, pairs: 10000}
  judge_mean: {p: 0.01, margin: 0.03sd}
canary:
  steps: [1, 5, 25, 100]       # %; 1 and 100 screen, 5 and 25 must PASS
  hold: 30m                    # at least, per step
  deadline: 3x                 # of the hold, per step; then pin, page, roll back
  look_every: 10s
  holdback: 1%                 # baseline kept at 100 %, for comparison
"""

PROMOTED = """\
lease: 120s                    # unrenewed: back to baseline
after_promotion: {watch: 6h}   # the previous artifact stays warm; gross harm is undone
costs: {request: 0.0021 USD, judge: 0.0006 USD}
page: pagerduty                # a pager of the worker's settings
"""

MISSION = f"""\
{OFFLINE}{CLIMB}gates:                         # margin: odds worse to rule out, at 5 % and at 25 %
  error: {{budget: 25%, margin: [2.0, 1.5]}}
  latency: {{budget: 15%, margin: [2.0, 1.5], at: [p50, p95, p99]}}
  refusal: {{budget: 10%, margin: [2.0, 1.5]}}
{PROMOTED}"""

THRESHOLDS = f"""\
# The older rule: roll back when false positives are up 5 %, latency 50 % or errors 5 %, after at
# least 100 samples. As it stands it rolls back harmless releases: each look is one more chance to
# be wrong, and 100 samples say little. Here are the same limits as exact sequential tests.
{OFFLINE}{CLIMB}gates:
  # tolerance: harmless up to here. +5 % of a small rate is odds of 1.05: 1.00 to 1.05 %.
  # margin: odds worse that a PASS rules out, at 5 % and at 25 %. The older rule ruled nothing out.
  # At least 100 samples: no count of our own is needed to find harm, five failures of five do; a
  # PASS takes what the margin takes, about 3,200 units at 5 %, and a screen at least 300.
  error: {{budget: 30%, tolerance: 1.05, margin: [2.0, 1.5]}}
  false_positive: {{budget: 30%, tolerance: 1.05, margin: [2.0, 1.5]}}  # what users mark as wrong
  # +50 % at p95: where 5 % of the baseline's requests are slower, about 12.7 % of the candidate's
  # are, odds of 2.76. Below 2.7 is tolerated, 3 is ruled out.
  latency: {{budget: 30%, at: [p95], tolerance: 2.7, margin: [3.0, 3.0]}}
  refusal: {{budget: 10%, role: watch}}  # the older rule had none: stops harm, proves nothing
{PROMOTED}"""

AB_48H = f"""\
stages: [ab]                   # one comparison at a fixed split; no shadow, no climb
on_pass: report                # at its end all traffic is back at the baseline
ab:
  share: 50%                   # of both arms alike: the most precise answer for its time
  time: 48h                    # two whole days, so that each hour of the day counts twice
  deadline: 2x                 # of the time; an arm that lacks its units is waited for until then
{OFFLINE}gates:                         # they stop the A/B when the candidate does harm
  error: {{budget: 25%}}         # of the error budget, spread over all looks
  latency: {{budget: 15%, at: [p50, p95, p99]}}
  refusal: {{budget: 10%}}
  sample_ratio: on             # a split that is not 50/50 cannot be trusted
lease: 120s                    # unrenewed: back to baseline
costs: {{request: 0.0021 USD, judge: 0.0006 USD}}
page: pagerduty                # a pager of the worker's settings
"""

BODIES = {Policy.MISSION: MISSION, Policy.THRESHOLDS: THRESHOLDS, Policy.AB_48H: AB_48H}
