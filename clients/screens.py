"""The screen of a running release, and the line that tells each of its changes to a pipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StepPlan
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict
from rampway.release.events import EventKind
from rampway.release.orders import Progress
from rampway.release.phases import Phase
from rampway.release.records import Record
from rampway.release.splits import Observed
from rampway.reports.dossier import open_pause
from rampway.reports.sentences import ending
from rampway.reports.shadow_figures import ShadowFigures, shadow_line
from rampway.reports.texts import gates_text
from rampway.reports.words import (
    WIDTH,
    clock,
    demo_mark,
    demo_sentence,
    duration,
    integer,
    plain,
    share,
    shorten,
    utc,
    where,
)

MINUTES_FROM_SECONDS = 120
HOURS_FROM_SECONDS = 6 * 3600
GOING_DOWN = frozenset({Phase.PINNED, Phase.ROLLING_BACK})
NAME_WIDTH = 60


@dataclass(frozen=True)
class View:
    """What is known of an open release when its screen is drawn.

    `stages` are the stages of its plan, `plan` is the present one with its thresholds frozen;
    `observed` is what the gateway does now, None with the reason in `gateway_silence`; `shadow` is
    how a shadow does, with the reason in `judge_silence`.
    """

    progress: Progress
    record: Record | None = None
    stages: tuple[str, ...] = ()
    plan: StepPlan | ShadowPlan | AbPlan | SettlePlan | None = None
    observed: Observed | None = None
    gateway_silence: str = ""
    shadow: ShadowFigures | None = None
    judge_silence: str = ""
    latency_warning_seconds: float | None = None


def progress_text(view: View, now: datetime, tz: tzinfo) -> str:
    """The screen of `rampway status` while a release is open."""
    progress = view.progress
    mark = demo_mark(view.record.header.target) if view.record else ""
    title = f"{mark}{plain(progress.name, NAME_WIDTH)}  {_headline(view, now, tz)}"
    lines = [_with_owner(title, progress.owner), _stage_bar(view)]
    if progress.phase is Phase.STRANDED:
        lines += _stranded(view)
    elif progress.phase in GOING_DOWN:
        lines += _going_down(view)
    else:
        lines += _climbing(view)
    demo = demo_sentence(view.record.header.target) if view.record else ""
    return "\n".join(shorten(line, WIDTH) for line in [*lines, demo] if line)


def ended_text(record: Record, headline: str) -> str:
    """The screen of `rampway status` for a release that has ended."""
    mark = demo_mark(record.header.target)
    name = plain(record.header.name, NAME_WIDTH)
    lines = [_with_owner(f"{mark}{name}  {ending(record)}", record.header.owner)]
    lines += [headline, f"Next: rampway explain {name}"]
    return "\n".join(shorten(line, WIDTH) for line in lines)


def change_line(progress: Progress, at: datetime, *, demo: bool = False) -> str:
    """One change for a pipe, in UTC: `2026-… NAME PINNED share=0% gate=error verdict=BREACH n=1138`."""
    fields = [f"share={_share(progress.share_bp)}"]
    verdict = progress.verdict
    if verdict is not None:
        gate = _told_gate(verdict)
        fields += [f"gate={plain(gate.gate, 40).replace(' ', '-')}"] if gate else []
        units = gate.candidate.units if gate else verdict.exposed
        fields += [f"verdict={verdict.verdict}", f"n={units}"]
    if progress.paused_by is not None:
        fields.append(f"paused-by={plain(progress.paused_by, 40).replace(' ', '-')}")
    fields += ["kind=demo"] if demo else []
    return " ".join([utc(at), plain(progress.name, NAME_WIDTH), progress.phase.value, *fields])


def record_line(record: Record) -> str:
    """The last change that the record tells of, in the form of `change_line`."""
    header = record.header
    last = record.events[-1] if record.events else None
    demo = ["kind=demo"] if demo_mark(header.target) else []
    return " ".join(
        [
            utc(last.at if last else header.started_at),
            header.name,
            record.phase.value,
            f"share={_share(last.share_bp if last else 0)}",
            *demo,
        ]
    )


def change_key(progress: Progress) -> tuple[object, ...]:
    """What counts as a change: two progresses with the same key are one line."""
    verdict = progress.verdict
    gate = _told_gate(verdict) if verdict else None
    return (
        progress.phase,
        progress.share_bp,
        progress.step,
        progress.paused_by,
        verdict.verdict if verdict else None,
        gate.gate if gate else None,
    )


def _share(basis_points: int) -> str:
    return share(basis_points).replace(" ", "")


def _told_gate(verdict: StageVerdict) -> GateVerdict | None:
    """The gate that keeps a stage from passing; none speaks for a stage that passes."""
    return None if verdict.verdict is Verdict.PASS else verdict.decisive


def _with_owner(title: str, owner: str) -> str:
    """The owner at the line's end, where the answer leaves room for it."""
    told = f"owner {plain(owner, 30)}"
    room = WIDTH - len(told) - 2
    return f"{title.ljust(room)}  {told}" if owner and len(title) <= room else title


def _headline(view: View, now: datetime, tz: tzinfo) -> str:
    progress = view.progress
    if progress.phase is Phase.STRANDED:
        return f"STRANDED: act now. {_laggards(view.observed)}"
    if progress.phase in GOING_DOWN:
        return f"PINNED, rolling back: {_stop_reason(progress)}. At 0 %"
    if progress.paused_by is not None:
        return _paused(view, progress.paused_by, tz)
    if progress.phase.exposed and progress.stage_began_at is not None:
        return f"{where(progress.step, progress.phase)}, {_hold(progress, now)}"
    return plain(progress.line, WIDTH)


def _paused(view: View, by: str, tz: tzinfo) -> str:
    progress = view.progress
    told = f"PAUSED in {where(progress.step, progress.phase)} by {plain(by, 30)}"
    event = open_pause(view.record) if view.record else None
    if event is None:
        return told
    reason = f': "{plain(event.reason, 60)}"' if event.reason else ""
    return f"{told} {clock(event.at, tz)}{reason}"


def _hold(progress: Progress, now: datetime) -> str:
    """`5 of 30 min, no BREACH: 25 min to go`."""
    began, ends = progress.stage_began_at, progress.hold_ends_at
    answer = _answer(progress.verdict)
    if began is None or ends is None:
        return answer
    elapsed = max(0.0, (now - began).total_seconds())
    left = (ends - now).total_seconds()
    if left <= 0:
        by = progress.deadline_at
        until = f"; pinned in {duration((by - now).total_seconds())}" if by and by > now else ""
        return f"{duration(elapsed)}, {answer}: hold is over, deciding{until}"
    return f"{_of(elapsed, (ends - began).total_seconds())}, {answer}: {duration(left)} to go"


def _of(elapsed: float, whole: float) -> str:
    if whole >= HOURS_FROM_SECONDS:
        return f"{elapsed / 3600:.1f} of {whole / 3600:g} h"
    if whole >= MINUTES_FROM_SECONDS:
        return f"{int(elapsed // 60)} of {round(whole / 60)} min"
    return f"{int(elapsed)} of {round(whole)} s"


def _answer(verdict: StageVerdict | None) -> str:
    if verdict is None:
        return "no look yet"
    if verdict.verdict in {Verdict.BREACH, Verdict.NO_DATA, Verdict.INCOMPARABLE}:
        return verdict.verdict.value
    return "no BREACH"


def _stage_bar(view: View) -> str:
    """`offline # shadow # 1 # 5 > 25 . 100 .` and, beside it, what the gateways do."""
    progress = view.progress
    known = view.stages or (*progress.passed, *([progress.step] if progress.step else []))
    bar = " ".join(f"{name.removesuffix(' %')} {_mark(name, progress)}" for name in known)
    return f"{bar}     {_gateways(view)}".rstrip()


def _mark(stage: str, progress: Progress) -> str:
    if stage in progress.passed:
        return "#"
    stopped = progress.phase in GOING_DOWN or progress.phase is Phase.STRANDED
    if stage == progress.step:
        return "x" if stopped else ">"
    first = progress.phase is Phase.OFFLINE_GATE and stage == "offline"
    return ">" if first else "."


def _gateways(view: View) -> str:
    observed = view.observed
    if observed is None:
        return plain(view.gateway_silence, WIDTH)
    serving = observed.instances - len(observed.laggards)
    told = f"{serving} of {gateways(observed.instances)} at {share(observed.share_bp)}"
    if observed.shadow_bp:
        told = f"candidate serves 0 %, {share(observed.shadow_bp)} copied"
    lease = observed.lease_seconds
    return told if lease is None else f"{told}, lease {duration(lease)}"


def _climbing(view: View) -> list[str]:
    progress, verdict = view.progress, view.progress.verdict
    lines: list[str] = []
    if progress.paused_by is not None:
        lines.append(f"The climb has stopped, the watch has not: {_answer(verdict)}.")
    if verdict is not None and verdict.gates:
        lines += gates_text(verdict, view.plan).splitlines()
    if progress.phase is Phase.SHADOW:
        lines.append(_shadow(view))
    return [*lines, _next_line(progress, verdict)]


def _shadow(view: View) -> str:
    if view.shadow is None:
        return (
            plain(f"shadow: not known, {view.judge_silence}", WIDTH) if view.judge_silence else ""
        )
    return shadow_line(view.shadow, view.latency_warning_seconds)


def _next_line(progress: Progress, verdict: StageVerdict | None) -> str:
    brake = "resume" if progress.paused_by is not None else "pause"
    if not progress.phase.exposed:
        return "Next: abort | history"
    return f"{_missing(verdict)}Next: {brake} | abort | explain"


def _missing(verdict: StageVerdict | None) -> str:
    """`PASS needs 2,800 more units, about 19 min.`"""
    if verdict is None or verdict.verdict is Verdict.PASS:
        return ""
    units = max((gate.units_needed or 0 for gate in verdict.gates), default=0)
    about = verdict.seconds_to_go
    if not units and about is None:
        return ""
    needed = f"{integer(units)} more units" if units else "the rest of the hold"
    return f"PASS needs {needed}{f', about {duration(about)}' if about else ''}.  "


def _stop_reason(progress: Progress) -> str:
    gate = progress.verdict.decisive if progress.verdict else None
    if gate is None or gate.verdict is not Verdict.BREACH:
        return plain(progress.line.removeprefix("PINNED: ").removesuffix(", at 0 %"), WIDTH)
    new, old = gate.candidate, gate.baseline
    arms = f"{integer(new.bad)} of {integer(new.units)}"
    if old.units:
        arms += f" v {integer(old.bad)} of {integer(old.units)}"
    return f"{plain(gate.gate, 40)} BREACH, {arms}"


def _going_down(view: View) -> list[str]:
    progress = view.progress
    kinds = {event.kind for event in view.record.events} if view.record else set[EventKind]()
    page = "sent" if EventKind.PAGED in kinds else "on its way"
    written = progress.recorded >= progress.events
    record = "complete" if written else f"writing, {progress.recorded} of {progress.events} events"
    return [
        f"page: {page}    record: {record}",
        f"You need do nothing on traffic.  Next: rampway explain {plain(progress.name, NAME_WIDTH)}",
    ]


def _laggards(observed: Observed | None) -> str:
    if observed is None:
        return "The gateway does not answer; its share is unknown"
    late = len(observed.laggards)
    return f"{late} of {gateways(observed.instances)} may still serve the candidate"


def gateways(count: int) -> str:
    """`1 gateway`, `3 gateways`."""
    return f"{count} gateway{'' if count == 1 else 's'}"


def _stranded(view: View) -> list[str]:
    observed, progress = view.observed, view.progress
    named = _named(observed.laggards) if observed and observed.laggards else "the gateway"
    target = view.record.header.target.name if view.record else progress.name.rpartition("-")[0]
    remedy = f"restart or drain {named}; rampway doctor --target {target}"
    return [plain(progress.line, WIDTH), f"Next: {remedy}. Clears itself on an answer."]


def _named(names: Sequence[str]) -> str:
    return ", ".join(plain(name, 40) for name in names)
