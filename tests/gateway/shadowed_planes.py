"""A data plane that shadows, and what its gateway tells of the copies."""

from typing import Any

from support.gateway_process import CANDIDATE, DataPlane, served


async def shadowing(
    plane: DataPlane,
    *,
    rate_bp: int = 10_000,
    candidate: dict[str, Any] | None = None,
    timeout_seconds: float = 3.0,
) -> dict[str, Any]:
    """Register, claim, and copy; answers the token."""
    await plane.admin.register(slice_seconds=0.5, timeout_seconds=timeout_seconds)
    token = await plane.admin.claim(candidate=candidate or served(CANDIDATE, "b"))
    await plane.admin.shadow(token, 1, rate_bp)
    return token


def spooled(plane: DataPlane, kind: str) -> list[dict[str, Any]]:
    return [line for line in plane.gateway.lines("spool-tutor.jsonl") if line["kind"] == kind]


async def missing(plane: DataPlane, reason: str) -> float:
    return await plane.admin.metric(f'shadow_missing_total{{target="tutor",reason="{reason}"}}')


def all_missing(plane: DataPlane) -> dict[str, int]:
    """Sampled requests without a pair, by reason, as their slices' marks tell."""
    told: dict[str, int] = {}
    for mark in spooled(plane, "mark"):
        for reason, count in mark["missing"].items():
            told[reason] = told.get(reason, 0) + count
    return told


def sampled(plane: DataPlane) -> int:
    """Requests of slices that are marked."""
    return sum(mark["copied"] for mark in spooled(plane, "mark"))
