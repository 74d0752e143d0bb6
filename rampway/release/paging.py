"""What the person on call reads when a release is stopped."""

from rampway.gates.verdicts import Count, GateVerdict, StageVerdict
from rampway.release.orders import ReleaseOrder
from rampway.release.phases import Trigger
from rampway.release.records import Page, Severity

SUMMARY_LIMIT = 1024
MISMATCH = "mismatch"  # an incident of its own: the rollback that follows is another page


def stop_page(
    order: ReleaseOrder,
    *,
    severity: Severity,
    trigger: Trigger,
    why: str,
    step: str,
    verdict: StageVerdict | None,
) -> Page:
    """One page for one stop; its key is the incident: environment, release, step and cause."""
    header = order.header
    gate = verdict.decisive if verdict else None
    cause = gate.gate if gate else trigger.value
    demo = "DEMO: " if header.target.kind == "demo" else ""
    if severity is Severity.CRITICAL:
        summary = (
            f"{demo}ACT: {header.name} is STRANDED. {header.target.name} may still send traffic to "
            f"the candidate. Restart or drain its gateways. Cause: {why}"
        )
    else:
        summary = (
            f"{demo}{header.name} was rolled back at {step}; traffic goes to the baseline, nothing "
            f"to do on it. {_numbers(verdict) or why}. Owner {header.owner}."
        )
    key_end = "stranded" if severity is Severity.CRITICAL else cause
    return Page(
        key=_key(order.environment, header.name, step, key_end),
        severity=severity,
        summary=summary[:SUMMARY_LIMIT],
        release=header.name,
        target=header.target.name,
        details={"trigger": trigger.value, "step": step, "why": why},
        links=header.links,
    )


def mismatch_page(order: ReleaseOrder, *, step: str, gate: GateVerdict) -> Page:
    """One page for a split that does not send what it promises; the release holds meanwhile."""
    header = order.header
    demo = "DEMO: " if header.target.kind == "demo" else ""
    summary = (
        f"{demo}{header.name} holds at {step}: {gate.why}. Its evidence cannot be trusted until the "
        f"routing is understood; it is rolled back at its deadline. Owner {header.owner}."
    )
    return Page(
        key=_key(order.environment, header.name, step, MISMATCH),
        severity=Severity.ERROR,
        summary=summary[:SUMMARY_LIMIT],
        release=header.name,
        target=header.target.name,
        details={"gate": gate.gate, "step": step, "why": gate.why},
        links=header.links,
    )


def _numbers(verdict: StageVerdict | None) -> str:
    gate = verdict.decisive if verdict else None
    if gate is None:
        return ""
    return f"{gate.gate}: candidate {_share(gate.candidate)}, baseline {_share(gate.baseline)}"


def _share(count: Count) -> str:
    return f"{count.bad:,} of {count.units:,} ({count.rate:.1%})"


def _key(*parts: str) -> str:
    """A dedup key of at most 255 characters: the limit of PagerDuty's Events API v2."""
    return "/".join(["rampway", *(part.replace(" ", "").replace("%", "") for part in parts)])[:255]
