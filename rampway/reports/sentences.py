"""The one sentence that answers what became of a release and why, for every ending."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rampway.gates.plans import SettlePlan
from rampway.gates.verdicts import Count, GateVerdict, OfflineVerdict, StageVerdict, Verdict
from rampway.release.events import Event, EventKind
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Record
from rampway.reports.dossier import Decision, Dossier, Missing, open_pause, stop_of, text_in
from rampway.reports.words import (
    integer,
    interval_points,
    listed,
    percent,
    percents_apart,
    plain,
    plural,
    points,
    share,
    short,
    threshold,
    where,
)


@dataclass(frozen=True)
class GateWords:
    """How one kind of gate is told: one bad unit, a heading, what each arm did (with its rate)."""

    noun: str
    title: str
    candidate: str
    baseline: str = "the baseline {rate}"


_SPLIT = "sample ratio"  # counts who came, not what went wrong
_OF_THE_BASELINE = "of the baseline's {rate}"
_UNKNOWN_GATE = GateWords(
    "bad unit", "", "{gate} was bad for {rate} of the candidate's {units}", _OF_THE_BASELINE
)
_GATES: Mapping[str, GateWords] = MappingProxyType(
    {
        "error": GateWords("error", "Errors", "the candidate failed {rate} of its {units}"),
        "latency": GateWords(
            "slow answer",
            "Slow answers",
            "{rate} of the candidate's {units} took longer than {threshold}",
            _OF_THE_BASELINE,
        ),
        "refusal": GateWords("refusal", "Refusals", "the candidate refused {rate} of its {units}"),
        "quality": GateWords(
            "low score",
            "Low scores",
            "the judge marked {rate} of the candidate's answers low",
            _OF_THE_BASELINE,
        ),
        "false_positive": GateWords(
            "false positive",
            "False positives",
            "feedback called {rate} of the candidate's answers false",
            _OF_THE_BASELINE,
        ),
        _SPLIT: GateWords("unit", "Sample ratio", "the candidate got {units}", ""),
        "safety": GateWords(
            "failed probe", "Safety probes", "the candidate failed {rate} of its safety probes"
        ),
    }
)
_RUNNING: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.PROPOSED: "It has not begun.",
        Phase.OFFLINE_GATE: "It serves nobody yet: the offline gate is being weighed.",
        Phase.QUEUED: "It serves nobody yet: it waits for its target.",
        Phase.SHADOW: "It serves nobody yet: copies of live requests are being judged.",
    }
)


def gate_words(gate: str) -> GateWords:
    """The words of a gate, by the beginning of its name (`latency p95` is a latency gate)."""
    return next((words for kind, words in _GATES.items() if gate.startswith(kind)), _UNKNOWN_GATE)


def gate_title(gate: str) -> str:
    """A heading for a gate: `Errors`, `Slow answers (latency p95)`; an unknown one by its name."""
    title = gate_words(gate).title
    if not title:
        return plain(gate)
    return title if gate in _GATES and gate != "latency" else f"{title} ({plain(gate)})"


def counts_units(gate: GateVerdict) -> bool:
    """Does the gate ask how many units came, instead of how many of them were bad?"""
    return gate.gate == _SPLIT


def counted_by(gate: GateVerdict) -> int:
    """What the gate counts of the candidate."""
    return gate.candidate.units if counts_units(gate) else gate.candidate.bad


def headline(dossier: Dossier) -> str:
    """What became of the release and why, in one sentence."""
    phase, stop = dossier.record.phase, dossier.stop
    if phase is Phase.PROMOTED:
        return _promoted(dossier)
    if phase is Phase.CONCLUDED:
        return "It ended as planned with a report; all traffic is on the baseline."
    if stop is None:
        return _running(dossier)
    if phase is Phase.REJECTED:
        return f"It was rejected before any traffic because {_rejection(dossier, stop)}."
    return f"{_opening(phase, stop)} because {_cause(dossier, stop)}."


def ending(record: Record) -> str:
    """Where a release is or how it ended, from its events alone: `ROLLED_BACK: error BREACH at 5 %`."""
    phase, stop = record.phase, stop_of(record)
    if phase is Phase.PROMOTED:
        used = sum(1 for e in record.events if e.kind is EventKind.OVERRIDE_USED)
        return f"PROMOTED: {plural(used, 'override')}" if used else "PROMOTED: every step held"
    if phase is Phase.CONCLUDED:
        return "CONCLUDED: report only"
    if stop is not None:
        return f"{phase}: {_stop_words(stop)}"
    last = record.events[-1] if record.events else None
    place = where(_current_step(record), phase) if last else phase.value
    pause = open_pause(record)
    if pause is not None:
        return f"PAUSED in {place} by {plain(pause.actor, 40)}"
    return place


def gate_clause(gate: GateVerdict, decision: Decision, unit: str) -> str:
    """What the gate saw, as the end of a sentence that began with `because`."""
    if decision.step == "shadow":
        return _shadow_clause(gate)
    words = gate_words(gate.gate)
    rates = percents_apart(gate.candidate.rate, gate.baseline.rate)
    if gate.gate.startswith("safety"):
        rates = _of(gate.candidate), _of(gate.baseline)
    did = words.candidate.format(
        gate=plain(gate.gate),
        rate=rates[0],
        units=f"{unit}s",
        threshold=threshold(decision.plan, gate.gate) or "the baseline's threshold",
    )
    if gate.baseline.units:
        return f"{did}, {words.baseline.format(rate=rates[1])}"
    return did + _frozen_rate(gate, decision)


def _promoted(dossier: Dossier) -> str:
    used = [e for e in dossier.record.events if e.kind is EventKind.OVERRIDE_USED]
    if not used:
        return "It was promoted to 100 %: every step held and no gate was in BREACH."
    told = [
        f"{plain(_granted_by(dossier, e), 40)} let {plain(text_in(e, 'gate') or 'a gate', 40)} "
        f"through at {where(e.step, e.phase)}{_quoted(e.reason)}"
        for e in used
    ]
    return f"It was promoted to 100 % with {plural(len(used), 'override')}: {listed(told)}."


def _granted_by(dossier: Dossier, used: Event) -> str:
    """The override is used by the workflow; the person is in the grant before it."""
    gate = text_in(used, "gate")
    granted = [
        e
        for e in dossier.record.events
        if e.kind is EventKind.OVERRIDE_GRANTED
        and e.sequence < used.sequence
        and text_in(e, "gate") == gate
    ]
    return granted[-1].actor if granted else used.actor


def _running(dossier: Dossier) -> str:
    record = dossier.record
    pause = open_pause(record)
    share_bp = record.events[-1].share_bp if record.events else 0
    serves = f"It serves {share(share_bp)}"
    if pause is not None:
        who = plain(pause.actor, 40)
        start = serves if share_bp else "It serves nobody yet"
        return (
            f"{start} and does not climb: {who} paused it{_quoted(pause.reason)}. The watch is on."
        )
    if record.phase is Phase.SETTLING:
        return f"{serves}: it is promoted and still watched, the old baseline is warm."
    return _RUNNING.get(record.phase, f"{serves} and nothing has stopped it so far.")


def _opening(phase: Phase, stop: Event) -> str:
    if phase is Phase.STRANDED:
        return "It is STRANDED, its candidate may still be served, and it had to go back"
    if phase is not Phase.ROLLED_BACK:
        return "It is rolling back"
    if stop.step == "settling":
        return "It was undone after its promotion"
    return "It rolled back"


def _cause(dossier: Dossier, stop: Event) -> str:
    place = where(stop.step, stop.phase)
    match stop.trigger:
        case Trigger.BREACH:
            return _breach_clause(dossier, stop)
        case Trigger.ABORT:
            return f"{plain(stop.actor, 40)} aborted it at {place}{_quoted(_own_words(stop))}"
        case Trigger.DEADLINE:
            return f"{place} was not decided by its deadline{_undecided(dossier, stop)}"
        case Trigger.CONTROL_LOST:
            return f"control of its traffic was lost at {place}{_after_colon(stop.reason)}"
        case Trigger.SUPERSEDED:
            return "a newer release took its place"
        case _:
            return f"it was stopped at {place}{_after_colon(stop.reason)}"


def _breach_clause(dossier: Dossier, stop: Event) -> str:
    gate, decision = dossier.deciding_gate, dossier.deciding
    if gate is not None and decision is not None:
        return gate_clause(gate, decision, dossier.unit)
    named = plain(text_in(stop, "gate") or "a gate", 40)
    place = where(stop.step, stop.phase)
    lost = _missing_words(decision.verdict if decision else None)
    return f"{named} was in BREACH at {place}{_after_colon(stop.reason)}{lost}"


def _missing_words(verdict: object) -> str:
    if isinstance(verdict, Missing):
        return f"; its verdict {short(verdict.digest)} is {verdict.why}"
    return ""


def _shadow_clause(gate: GateVerdict) -> str:
    pairs = f"on {plural(gate.candidate.units, 'copy')} of live requests"
    if gate.gate.startswith("judge"):
        lost, gained = plural(gate.candidate.bad, "level"), integer(gate.baseline.bad)
        return f"{pairs} the judge's scores lost {lost} and gained {gained}"
    return f"{pairs} {plain(gate.gate, 40)} was in BREACH"


def _frozen_rate(gate: GateVerdict, decision: Decision) -> str:
    """After promotion no control is left: the rate that the gate compares with is in its plan."""
    if not isinstance(decision.plan, SettlePlan):
        return ""
    rate = next((g.baseline_rate for g in decision.plan.gates if g.name == gate.gate), None)
    return f", the control's last rate was {percent(rate)}" if rate is not None else ""


def _undecided(dossier: Dossier, stop: Event) -> str:
    decision = dossier.deciding
    if decision is None or not isinstance(decision.verdict, StageVerdict):
        lost = _missing_words(decision.verdict if decision else None)
        return f"{_after_colon(stop.reason)}{lost}"
    gates = [g for g in decision.verdict.gates if g.verdict is not Verdict.PASS]
    if not gates:
        return f": {decision.verdict.verdict}" + _after_colon(decision.verdict.why)
    return f": {listed([f'{plain(g.gate, 40)} {g.verdict}{_short_of(g)}' for g in gates])}"


def _short_of(gate: GateVerdict) -> str:
    return f" ({integer(gate.units_needed)} units short)" if gate.units_needed else ""


def _rejection(dossier: Dossier, stop: Event) -> str:
    match stop.trigger:
        case Trigger.ABORT:
            return f"{plain(stop.actor, 40)} aborted it{_quoted(_own_words(stop))}"
        case Trigger.SUPERSEDED:
            return "a newer release took its place"
        case Trigger.BUSY:
            return f"another release held its target{_after_colon(stop.reason)}"
        case _:
            return _offline_clause(dossier, stop)


def _offline_clause(dossier: Dossier, stop: Event) -> str:
    verdict = dossier.deciding.verdict if dossier.deciding else None
    if not isinstance(verdict, OfflineVerdict):
        lost = _missing_words(verdict)
        return f"the offline gate did not pass{_after_colon(stop.reason)}{lost}"
    head, safety = verdict.headline, verdict.safety
    if head is not None and head.verdict is verdict.verdict:
        if head.verdict is Verdict.BREACH:
            new, old = percents_apart(head.candidate_accuracy, head.baseline_accuracy)
            return f"it answered {new} of {integer(head.cases)} cases right, the baseline {old}"
        if head.verdict is Verdict.INCONCLUSIVE:
            loss = f"{points(head.difference)} {interval_points(head.low, head.high)}"
            return f"{integer(head.cases)} cases cannot rule out that it is worse: {loss}"
    if safety is not None and safety.verdict is verdict.verdict is Verdict.BREACH and safety.flips:
        return f"{plural(len(safety.flips), 'hard safety case')} passed before and fail now"
    return f"the offline gate said {verdict.verdict}{_after_colon(verdict.why)}"


def _stop_words(stop: Event) -> str:
    named = {None: "", "shadow": " in shadow", "settling": " while settling"}
    place = named.get(stop.step, f" at {plain(stop.step or '')}")
    match stop.trigger:
        case Trigger.BREACH:
            return f"{plain(text_in(stop, 'gate') or 'a gate', 40)} BREACH{place}"
        case Trigger.ABORT:
            return f"aborted by {plain(stop.actor, 40)}{place}"
        case Trigger.GATE_FAILED:
            return "the offline gate did not pass"
        case Trigger.BUSY:
            return "its target was taken"
        case None:
            return f"stopped{place}"
        case _:
            return f"{stop.trigger}{place}"


def _current_step(record: Record) -> str | None:
    """The step of the last event in this phase that names one."""
    for event in reversed(record.events):
        if event.phase is not record.phase:
            return None
        if event.step is not None:
            return event.step
    return None


def _own_words(stop: Event) -> str:
    """The reason a person gave, without the words that an event puts before it."""
    return stop.reason.removeprefix(f"aborted by {stop.actor}").removeprefix(": ")


def _of(count: Count) -> str:
    return f"{integer(count.bad)} of {integer(count.units)}"


def _quoted(reason: str) -> str:
    return f', "{plain(reason, 200)}"' if reason.strip() else ""


def _after_colon(reason: str) -> str:
    return f": {plain(reason, 200).removesuffix('.')}" if reason.strip() else ""
