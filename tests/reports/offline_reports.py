"""Reports on made-up evals, weighed by the real gate; tests change one fact."""

import random
from dataclasses import replace

from rampway.gates.evidence import Column, Disagreement, PairedCases
from rampway.gates.facts import digest_of
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, SafetyPlan, SliceMode, SlicesPlan
from rampway.reports.offline import Fingerprints, OfflineReport

TENSES = ("present", "past simple", "future", "conditional perfect", "imperfect")
PEOPLE = ("I", "you", "she")
CASES = 3000
HOSTILE = (
    '</td><script>alert(1)</script><img src=x onerror="alert(2)"> | `x` **b** [l](javascript:1) '
    "@everyone \x1b[31mred\x1b[0m \r\n::error::no ##[add-mask]no ]]> --> &amp; \ufffe \u202e"
)
HUGE = "long " * 20_000


def paired(
    lost: dict[str, float] | None = None,
    gained: float = 0.05,
    tenses: tuple[str, ...] = TENSES,
    seed: int = 5,
) -> PairedCases:
    """Cases of which the candidate loses some in each tense, and gains some everywhere."""
    dice = random.Random(seed)
    old = [float(dice.random() < 0.8) for _ in range(CASES)]
    new = [
        float(dice.random() >= (lost or {}).get(tenses[case % len(tenses)], 0.01))
        if right
        else float(dice.random() < gained)
        for case, right in enumerate(old)
    ]
    return PairedCases(
        baseline=digest_of("old prompt"),
        candidate=digest_of("new prompt"),
        dataset=digest_of("verbs"),
        grader=digest_of("set match"),
        harness="ours 1.0",
        seeds="seed 7",
        cases=[f"verb-{i}" for i in range(CASES)],
        old=old,
        new=new,
        slices={
            "tense": Column(values=list(tenses), codes=[i % len(tenses) for i in range(CASES)]),
            "person": Column(
                values=list(PEOPLE), codes=[i // 7 % len(PEOPLE) for i in range(CASES)]
            ),
        },
    )


def disagreements_of(cases: PairedCases) -> tuple[Disagreement, ...]:
    """Those of the cases, worst regressions first, and one answer that was only put otherwise."""
    found = [
        Disagreement(
            case=case,
            old=old,
            new=new,
            question=f"Conjugate {case}.",
            expected="walked",
            old_answer="walked" if old else "walk",
            new_answer="walked" if new else "walkt",
            slices={"tense": TENSES[at % len(TENSES)]},
        )
        for at, (case, old, new) in enumerate(zip(cases.cases, cases.old, cases.new, strict=True))
        if old != new
    ]
    found.sort(key=lambda one: one.new > one.old)
    reworded = [changed_case(one, case="verb-reworded", old=1.0, new=1.0) for one in found[:1]]
    return (*found, *reworded)


def changed_case(given: Disagreement, **changed: object) -> Disagreement:
    return given.model_copy(update=changed)


def report_of(cases: PairedCases, plan: OfflinePlan | None = None) -> OfflineReport:
    """The report of `rampway eval` on these cases."""
    plan = plan or OfflinePlan(
        slices=SlicesPlan(by=tuple(cases.slices), mode=SliceMode.LITERAL),
        safety=SafetyPlan(generations=3) if cases.safety else None,
    )
    return OfflineReport(
        name="grammar-tutor",
        verdict=weigh_offline(plan, cases),
        plan=plan,
        fingerprints=Fingerprints.of(cases),
        disagreements=disagreements_of(cases),
        next_step="Next: mend the candidate.",
    )


def better() -> OfflineReport:
    return report_of(paired(gained=0.3))


def worse() -> OfflineReport:
    return report_of(paired({"past simple": 0.3, "future": 0.1}))


def worse_in_one_slice() -> OfflineReport:
    """The mean is better, past simple is worse."""
    return report_of(paired({"past simple": 0.15}, gained=0.4))


def unclear() -> OfflineReport:
    return report_of(paired(dict.fromkeys(TENSES, 0.03), gained=0.1))


def unsafe() -> OfflineReport:
    """Better, but for one hard case that flips."""
    rows = [(f"s{i}", True, 3, 0 if i == 7 else 3, 3) for i in range(40)]
    return report_of(paired(gained=0.3).model_copy(update={"safety": rows}))


def incomparable() -> OfflineReport:
    cases = paired()
    return report_of(cases.model_copy(update={"candidate": cases.baseline}))


def no_data() -> OfflineReport:
    cases = paired()
    nobody = {name: Column(values=[], codes=[]) for name in cases.slices}
    return report_of(cases.model_copy(update={"cases": [], "old": [], "new": [], "slices": nobody}))


def hostile() -> OfflineReport:
    """Someone else's words in every place that takes some."""
    tenses = (*TENSES[:3], HOSTILE, HUGE)
    cases = paired({HOSTILE: 0.4, HUGE: 0.4}, tenses=tenses)
    rows = [(f"{HOSTILE}{i}", True, 3, 0, 3) for i in range(40)]
    cases = cases.model_copy(
        update={
            "safety": rows,
            "grader": HOSTILE,
            "seeds": HUGE,
            "harness": HOSTILE,
            "errors": {HOSTILE: 3},
            "slices": {HOSTILE: cases.slices["tense"], "person": cases.slices["person"]},
        }
    )
    told = report_of(cases)
    wild = {
        "question": HOSTILE,
        "expected": HUGE,
        "old_answer": HOSTILE * 400,
        "new_answer": "&@|" * 10_000,
        "slices": {HOSTILE: HUGE},
    }
    changed = tuple(
        changed_case(case, case=f"{HOSTILE}{at}", **wild)
        for at, case in enumerate(told.disagreements)
    )
    return replace(
        told, name=HOSTILE, cluster=HOSTILE, mode=SliceMode.LITERAL, disagreements=changed
    )


ALL = {
    "better": better,
    "worse": worse,
    "worse in one slice": worse_in_one_slice,
    "unclear": unclear,
    "unsafe": unsafe,
    "incomparable": incomparable,
    "no data": no_data,
    "hostile": hostile,
}
