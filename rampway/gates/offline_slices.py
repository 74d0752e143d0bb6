"""Weighs the slices of the offline gate: is the candidate worse in some part of the cases?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rampway.gates.bounds import holm
from rampway.gates.evidence import PairedCases
from rampway.gates.paired import Codes, PairedLoss, paired_loss
from rampway.gates.phrases import counted, enumerated, points
from rampway.gates.plans import SliceMode, SlicesPlan
from rampway.gates.verdicts import OfflineSlices, SliceLoss, Verdict, significant

_NAMED_MAX = 5


def weigh_slices(
    plan: SlicesPlan, cases: PairedCases, clusters: Sequence[int] | None
) -> OfflineSlices:
    """One paired test per value of each column in `plan.by`, all of them one family (Holm 1979).

    A slice is a BREACH when its loss, adjusted for the family, has a probability under `plan.p`; any
    such slice makes the whole a BREACH. A slice that is not worse says INCONCLUSIVE while fewer than
    `plan.discordant_least` of its cases changed, or when it is too small for the family: if the loss
    of every unit in it could not be a BREACH, its silence means nothing.

    An INCONCLUSIVE slice is listed, named when it lost, and does not block. If it did, a candidate that
    changes nothing would be blocked for ever, by every slice, and the promise that Holm makes (a
    candidate that is no worse anywhere is blocked with a chance of `plan.p` at most) would be gone:
    four losses of four changed cases are beyond two sigma, and happen to identical models. That the
    candidate is not worse is for the headline to prove, over all cases and within a margin; the slices
    look for harm that this mean hides. A slice too small for that belongs to the hard safety cases.

    What has no answer never passes: a slice without a case is NO_DATA for the whole, and a plan whose
    slices are all too small to be found worse is INCONCLUSIVE. `sigmas` of a slice without variance
    take the error that the same changes with random signs would have, so that n units that all lost
    are sqrt(n) of it.
    """
    found = list(_slices(plan, cases, clusters))
    tested = [slice_.loss for slice_ in found if slice_.loss is not None]
    adjusted = iter(holm([loss.p_loss for loss in tested]))
    needed = _units_needed(plan, len(tested))
    told = [
        _tell(plan, needed, slice_, next(adjusted) if slice_.loss is not None else 1.0)
        for slice_ in found
    ]
    told.sort(key=_worst_first)
    largest = max(loss.units for loss in tested)
    verdict, why = _add_up(told, needed, largest, "case" if clusters is None else "cluster")
    beyond = [slice_ for slice_ in told if slice_.sigmas > plan.sigma]
    return OfflineSlices(
        verdict=verdict,
        slices=tuple(told),
        worse=sum(slice_.verdict is Verdict.BREACH for slice_ in told),
        beyond_sigma=len(beyond),
        sigma=plan.sigma,
        literal=_plain_rule(plan, told, beyond) if plan.mode is SliceMode.LITERAL else "",
        why=why,
    )


@dataclass(frozen=True, slots=True)
class _Slice:
    by: str
    value: str
    loss: PairedLoss | None  # None: no case has this value


def _slices(plan: SlicesPlan, cases: PairedCases, clusters: Codes | None) -> Iterator[_Slice]:
    old, new = np.asarray(cases.old, dtype=np.float64), np.asarray(cases.new, dtype=np.float64)
    groups = None if clusters is None else np.asarray(clusters, dtype=np.int64)
    for by in dict.fromkeys(plan.by):
        column = cases.slices[by]
        codes = np.asarray(column.codes, dtype=np.int64)
        ends = np.cumsum(np.bincount(codes, minlength=len(column.values)))
        members = np.split(np.argsort(codes, kind="stable"), ends[:-1])
        for value, member in zip(column.values, members, strict=True):
            loss = None
            if member.size:
                within = None if groups is None else groups[member]
                loss = paired_loss(old[member], new[member], within)
            yield _Slice(by, value, loss)


def _units_needed(plan: SlicesPlan, family: int) -> int:
    """Fewest units whose loss, all of them, is a BREACH in a family of this size."""
    units = 1
    while family * 0.5**units >= plan.p:
        units += 1
    return units


def _tell(plan: SlicesPlan, needed: int, slice_: _Slice, p_holm: float) -> SliceLoss:
    loss = slice_.loss
    if loss is None:
        return SliceLoss(
            by=slice_.by,
            value=slice_.value,
            verdict=Verdict.NO_DATA,
            cases=0,
            discordant=0,
            baseline_accuracy=0,
            candidate_accuracy=0,
            difference=0,
            low=-1,
            high=1,
            p=1,
            p_holm=1,
            sigmas=0,
        )
    verdict = Verdict.PASS
    if p_holm < plan.p:
        verdict = Verdict.BREACH
    elif loss.changed < plan.discordant_least or loss.units < needed:
        verdict = Verdict.INCONCLUSIVE
    return SliceLoss(
        by=slice_.by,
        value=slice_.value,
        verdict=verdict,
        cases=loss.cases,
        discordant=loss.changed,
        baseline_accuracy=significant(loss.old_mean),
        candidate_accuracy=significant(loss.new_mean),
        difference=significant(loss.difference),
        low=significant(loss.low),
        high=significant(loss.high),
        p=significant(loss.p_loss),
        p_holm=significant(p_holm),
        sigmas=significant(loss.sigmas),
    )


def _worst_first(slice_: SliceLoss) -> tuple[bool, bool, float, float, str, str]:
    return (
        slice_.verdict is not Verdict.BREACH,
        slice_.verdict is not Verdict.NO_DATA,
        slice_.p,
        slice_.difference,
        slice_.by,
        slice_.value,
    )


def _add_up(slices: list[SliceLoss], needed: int, largest: int, unit: str) -> tuple[Verdict, str]:
    by_verdict = {
        verdict: [slice_ for slice_ in slices if slice_.verdict is verdict] for verdict in Verdict
    }
    breached, empty, open_ = (
        by_verdict[verdict] for verdict in (Verdict.BREACH, Verdict.NO_DATA, Verdict.INCONCLUSIVE)
    )
    worse = f"{len(breached)} of {counted(len(slices), 'slice')} worse after Holm"
    if breached:
        return Verdict.BREACH, f"{worse}: {_listed(breached, slices)}"
    if empty:
        names = enumerated([_name(slice_, slices) for slice_ in empty[:_NAMED_MAX]], len(empty))
        return Verdict.NO_DATA, f"no case that both artifacts answered in {names}"
    if largest < needed:
        return Verdict.INCONCLUSIVE, (
            f"no slice can be found worse: among {counted(len(slices), 'slice')} one needs "
            f"{counted(needed, unit)}, the largest has {largest}"
        )
    why = worse
    if open_:
        why += f"; {len(open_)} with too little to tell"
        lost = [slice_ for slice_ in open_ if slice_.difference < 0]
        if lost:
            why += f", {_listed(lost[:1], slices)} first"
    return Verdict.PASS, why


def _plain_rule(plan: SlicesPlan, slices: list[SliceLoss], beyond: list[SliceLoss]) -> str:
    rule = f"every slice at {plan.sigma:g} sigma would have"
    if not beyond:
        return f"{rule} passed"
    furthest = sorted(beyond, key=lambda slice_: -slice_.sigmas)
    return f"{rule} blocked: {_listed(furthest, slices)}"


def _listed(some: Sequence[SliceLoss], slices: Sequence[SliceLoss]) -> str:
    shown = [
        f"{_name(slice_, slices)} {points(slice_.difference)} ({counted(slice_.cases, 'case')})"
        for slice_ in some[:_NAMED_MAX]
    ]
    return enumerated(shown, len(some))


def _name(slice_: SliceLoss, slices: Sequence[SliceLoss]) -> str:
    """The value alone where no other column has it."""
    alone = sum(other.value == slice_.value for other in slices) == 1
    return slice_.value if alone else f"{slice_.by} {slice_.value}"
