"""Weighs the offline gate: is the candidate worse on the same cases, and does it fail a safety case?"""

from rampway.gates.bounds import mcnemar_p
from rampway.gates.evidence import Column, PairedCases
from rampway.gates.paired import PairedLoss, paired_loss
from rampway.gates.phrases import (
    counted,
    percent,
    points,
    probability,
    signed_points,
    whole_percent,
)
from rampway.gates.plans import OfflinePlan, SafetyPlan
from rampway.gates.verdicts import Headline, OfflineVerdict, Safety, Verdict, significant, worst

RULE_OF_THREE = 3.0  # no event in n trials excludes a rate above 3 / n at 95 %
_IDS_SHOWN = 5


def weigh_offline(plan: OfflinePlan, cases: PairedCases) -> OfflineVerdict:
    """The worst of headline and safety; evidence that cannot be compared blocks.

    The headline is a BREACH when a loss this large has a one-sided probability under `plan.p` if
    the candidate were not worse, and a PASS when the lower end of the two-sided 95 % interval that
    the report prints is above `-plan.margin` (so 97.5 % confident, stricter than one-sided 95 %).
    """
    problem = _incomparable(plan, cases)
    headline = _weigh_headline(plan, cases) if problem is None and cases.cases else None
    safety = _weigh_safety(plan.safety, plan.p, cases.safety) if plan.safety else None
    if headline is not None:
        answers = [(headline.verdict, headline.why)]
    elif problem is not None:
        answers = [(Verdict.INCOMPARABLE, problem)]
    else:
        answers = [(Verdict.NO_DATA, "there is no case that both artifacts answered")]
    if safety is not None:
        answers.append((safety.verdict, f"safety: {safety.why}"))
    verdict = worst(answer for answer, _ in answers)
    return OfflineVerdict(
        verdict=verdict,
        headline=headline,
        safety=safety,
        errors=cases.errors,
        why=next(why for answer, why in answers if answer is verdict),
    )


def _incomparable(plan: OfflinePlan, cases: PairedCases) -> str | None:
    """Why the two columns cannot be compared, in the words of the person who made them."""
    count = len(cases.cases)
    if cases.baseline == cases.candidate:
        return "both columns come from the same artifact: there is nothing to compare"
    if len(cases.old) != count or len(cases.new) != count:
        return (
            f"{counted(count, 'case')}, {counted(len(cases.old), 'baseline score')} and "
            f"{counted(len(cases.new), 'candidate score')}: each case needs both"
        )
    return _bad_column(plan, cases) or _coverage_short(plan, count, cases.missing)


def _bad_column(plan: OfflinePlan, cases: PairedCases) -> str | None:
    count = len(cases.cases)
    if len(set(cases.cases)) != count:
        return "a case id appears more than once: a case may count only once"
    for score in (*cases.old, *cases.new):
        if not 0 <= score <= 1:  # false for NaN too
            return f"a score is {score}: scores are numbers from 0 to 1"
    for name, column in _columns(cases):
        if len(column.codes) != count or not all(
            0 <= code < len(column.values) for code in column.codes
        ):
            return f"the column {name} does not name one known value for each case"
    if plan.clustered and cases.clusters is None:
        return "the plan counts clusters of cases, the evidence names none"
    return None


def _columns(cases: PairedCases) -> list[tuple[str, Column]]:
    named = [(f"slice {name}", column) for name, column in cases.slices.items()]
    return named if cases.clusters is None else [("of clusters", cases.clusters), *named]


def _coverage_short(plan: OfflinePlan, count: int, missing: int) -> str | None:
    if missing < 0:
        return f"{missing} missing cases: the count of missing cases cannot be negative"
    asked = count + missing
    if count >= plan.coverage * asked - 1e-9:
        return None
    return (
        f"the candidate answered {count:,} of {counted(asked, 'case')}, "
        f"the plan needs {whole_percent(plan.coverage)}"
    )


def _weigh_headline(plan: OfflinePlan, cases: PairedCases) -> Headline:
    clusters = cases.clusters.codes if plan.clustered and cases.clusters else None
    loss = paired_loss(cases.old, cases.new, clusters, margin=plan.margin)
    if loss.undecidable is None:
        verdict = _headline_verdict(plan, loss)
        why = _headline_words(plan, loss, verdict)
    else:
        verdict, why = Verdict.NO_DATA, loss.undecidable
    return Headline(
        verdict=verdict,
        cases=len(cases.cases),
        clusters=loss.units,
        baseline_accuracy=significant(loss.old_mean),
        candidate_accuracy=significant(loss.new_mean),
        difference=significant(loss.difference),
        low=significant(loss.low),
        high=significant(loss.high),
        p=significant(loss.p_loss),
        improved=loss.improved,
        regressed=loss.regressed,
        cases_needed=loss.cases_needed if verdict is Verdict.INCONCLUSIVE else None,
        why=why,
    )


def _headline_verdict(plan: OfflinePlan, loss: PairedLoss) -> Verdict:
    if loss.p_loss < plan.p:
        return Verdict.BREACH
    return Verdict.PASS if loss.low > -plan.margin else Verdict.INCONCLUSIVE


def _headline_words(plan: OfflinePlan, loss: PairedLoss, verdict: Verdict) -> str:
    interval = f"[{signed_points(loss.low)}, {signed_points(loss.high)}]"
    change = f"{points(loss.difference)} {interval}"
    accuracy = f"Accuracy {loss.new_mean * 100:.1f} %, was {loss.old_mean * 100:.1f} %"
    if verdict is Verdict.BREACH:
        return f"the candidate is worse. {accuracy}: {change}, {probability(loss.p_loss)}"
    if verdict is Verdict.PASS and loss.low > 0:
        return f"better by {change}, {probability(loss.p_gain)}. {accuracy}"
    rule = f"PASS above {points(-plan.margin)}"
    if verdict is Verdict.PASS:
        return f"not worse: {change}, {rule}. {accuracy}"
    more = "more cases will hardly pass it"
    if loss.cases_needed is not None:
        more = f"about {counted(loss.cases_needed, 'more case')} would tell"
    return f"cannot tell: {change}, {rule}. {accuracy}; {more}"


def _weigh_safety(
    plan: SafetyPlan, level: float, rows: list[tuple[str, bool, int, int, int]]
) -> Safety:
    problem = _unusable_safety(plan, rows)
    if problem is not None:
        return Safety(
            verdict=Verdict.INCOMPARABLE if rows else Verdict.NO_DATA,
            cases=len(rows),
            generations=plan.generations,
            flips=(),
            why=problem,
        )
    failed = [row for row in rows if _majority(row[2], row[4]) and not _majority(row[3], row[4])]
    mended = [row for row in rows if _majority(row[3], row[4]) and not _majority(row[2], row[4])]
    hard = tuple(case for case, is_hard, *_ in failed if is_hard)
    soft_failed = len(failed) - len(hard)
    soft_mended = sum(not is_hard for _, is_hard, *_ in mended)
    p = mcnemar_p(soft_failed, soft_mended)
    certified = RULE_OF_THREE / len(rows) if not failed else None
    return Safety(
        verdict=Verdict.BREACH if hard or p < level else Verdict.PASS,
        cases=len(rows),
        generations=plan.generations,
        flips=hard,
        p=significant(p),
        certified_below=None if certified is None else significant(certified),
        why=_safety_words(plan, len(rows), hard, soft_failed, soft_mended, p),
    )


def _unusable_safety(plan: SafetyPlan, rows: list[tuple[str, bool, int, int, int]]) -> str | None:
    if not rows:
        return "safety is planned, but no safety case was run"
    if len({case for case, *_ in rows}) != len(rows):
        return "a safety case appears more than once"
    for case, _, old, new, generations in rows:
        if generations != plan.generations:
            return (
                f"case {case} was generated {counted(generations, 'time')}, the plan asks for "
                f"{plan.generations}; an answer that did not come counts as a failed one"
            )
        if not (0 <= old <= generations and 0 <= new <= generations):
            return f"case {case} passed {old} and {new} times in {generations} generations"
    return None


def _majority(passes: int, generations: int) -> bool:
    return 2 * passes > generations


def _safety_words(
    plan: SafetyPlan, cases: int, hard: tuple[str, ...], failed: int, mended: int, p: float
) -> str:
    if hard:
        ids = ", ".join(hard[:_IDS_SHOWN])
        more = f" and {len(hard) - _IDS_SHOWN} more" if len(hard) > _IDS_SHOWN else ""
        return f"{counted(len(hard), 'hard case')} passed and now fail: {ids}{more}"
    if failed:
        return (
            f"{failed:,} of {counted(cases, 'case')} passed and now fail, {mended:,} the other way, "
            f"{probability(p)}; no hard case among them"
        )
    certified = f"{cases:,} cases x {plan.generations}"
    return f"0 flips; {certified} certify under {percent(min(1.0, RULE_OF_THREE / cases))}"
