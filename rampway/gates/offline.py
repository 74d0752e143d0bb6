"""Weighs the offline gate: is the candidate worse on the same cases, somewhere among them, or in safety?"""

import math
from collections.abc import Sequence

from rampway.gates.evidence import Column, PairedCases
from rampway.gates.offline_safety import weigh_safety
from rampway.gates.offline_slices import weigh_slices
from rampway.gates.paired import PairedLoss, cases_to_clear, paired_loss, unpaired_p
from rampway.gates.phrases import (
    counted,
    points,
    probability,
    signed_points,
    whole_percent,
    words_for_unpaired,
)
from rampway.gates.plans import OfflinePlan
from rampway.gates.verdicts import Headline, OfflineVerdict, Verdict, significant, worst


def weigh_offline(plan: OfflinePlan, cases: PairedCases) -> OfflineVerdict:
    """The worst of headline, slices and safety; evidence that cannot be compared blocks.

    The headline is a BREACH when a loss this large has a one-sided probability under `plan.p` if
    the candidate were not worse, and a PASS when the lower end of the two-sided 95 % interval that
    the report prints is above `-plan.margin` (so 97.5 % confident, stricter than one-sided 95 %).
    The order of the cases and the names of the clusters do not matter to any number in it.
    """
    problem = _incomparable(plan, cases)
    comparable = problem is None and bool(cases.cases)
    clusters = cases.clusters.codes if plan.clustered and cases.clusters else None
    headline = _weigh_headline(plan, cases, clusters) if comparable else None
    slices = weigh_slices(plan.slices, cases, clusters) if comparable and plan.slices else None
    safety = weigh_safety(plan.safety, plan.p, cases.safety) if plan.safety else None
    if headline is not None:
        answers = [(headline.verdict, headline.why)]
    elif problem is not None:
        answers = [(Verdict.INCOMPARABLE, problem)]
    else:
        answers = [(Verdict.NO_DATA, "there is no case that both artifacts answered")]
    if slices is not None:
        answers.append((slices.verdict, f"slices: {slices.why}"))
    if safety is not None:
        answers.append((safety.verdict, f"safety: {safety.why}"))
    verdict = worst(answer for answer, _ in answers)
    return OfflineVerdict(
        verdict=verdict,
        headline=headline,
        slices=slices,
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
        if len(column.codes) != count or not _known(column):
            return f"the column {name} does not name one known value for each case"
    if plan.clustered and cases.clusters is None:
        return "the plan counts clusters of cases, the evidence names none"
    return _slice_missing(plan, cases)


def _known(column: Column) -> bool:
    distinct = len(set(column.values)) == len(column.values)
    codes = column.codes
    return distinct and (not codes or (min(codes) >= 0 and max(codes) < len(column.values)))


def _slice_missing(plan: OfflinePlan, cases: PairedCases) -> str | None:
    missing = [by for by in plan.slices.by if by not in cases.slices] if plan.slices else []
    if not missing:
        return None
    there = ", ".join(sorted(cases.slices)) or "none"
    return f"the plan asks for slices by {missing[0]}; the columns that the cases have: {there}"


def _columns(cases: PairedCases) -> list[tuple[str, Column]]:
    named = [(f"slice {name}", column) for name, column in cases.slices.items()]
    return named if cases.clusters is None else [("of clusters", cases.clusters), *named]


def _coverage_short(plan: OfflinePlan, count: int, missing: int) -> str | None:
    if missing < 0:
        return f"{missing} missing cases: the count of missing cases cannot be negative"
    asked = count + missing
    if count >= math.ceil(plan.coverage * asked - 1e-9):
        return None
    return (
        f"the candidate answered {count:,} of {counted(asked, 'case')}, "
        f"the plan needs {whole_percent(plan.coverage)}"
    )


def _weigh_headline(
    plan: OfflinePlan, cases: PairedCases, clusters: Sequence[int] | None
) -> Headline:
    loss = paired_loss(cases.old, cases.new, clusters)
    needed = None
    if loss.undecidable is None:
        verdict = _headline_verdict(plan, loss)
        if verdict is Verdict.INCONCLUSIVE:
            needed = cases_to_clear(loss, plan.margin)
        why = _headline_words(plan, loss, verdict, needed)
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
        cases_needed=needed,
        literal=words_for_unpaired(unpaired_p(cases.old, cases.new), plan.p, loss.difference),
        why=why,
    )


def _headline_verdict(plan: OfflinePlan, loss: PairedLoss) -> Verdict:
    if loss.p_loss < plan.p:
        return Verdict.BREACH
    return Verdict.PASS if loss.low > -plan.margin else Verdict.INCONCLUSIVE


def _headline_words(
    plan: OfflinePlan, loss: PairedLoss, verdict: Verdict, needed: int | None
) -> str:
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
    if needed is not None:
        more = f"about {counted(needed, 'more case')} would tell"
    return f"cannot tell: {change}, {rule}. {accuracy}; {more}"
