"""The ground truth: every accepted write, expiry and load decision, appended to `splits.jsonl`."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from pydantic import JsonValue

from rampway.gateway.durable import DurableLines
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Instant

Deed = dict[str, JsonValue]


def deed(
    cause: str, op_id: str, before: TargetSplit | None, after: TargetSplit, at: Instant
) -> Deed:
    """One line: when (both clocks), what moved, from which to which share, by whose order."""
    claim = after.claim
    old = before.claim if before else None
    return {
        "monotonic": at.monotonic,
        "wall": at.wall,
        "target": after.target,
        "release": claim.release if claim else None,
        "cause": cause,
        "op_id": op_id,
        "epoch": after.epoch,
        "sequence": claim.sequence if claim else 0,
        "segment": after.segment.number,
        "share_before_bp": old.share_bp if old else 0,
        "share_after_bp": claim.share_bp if claim else 0,
        "shadow_before_bp": old.shadow_bp if old else 0,
        "shadow_after_bp": claim.shadow_bp if claim else 0,
        "baseline": after.baseline.artifact,
        "lease_until": claim.lease_until if claim else None,
        "pinned_by": claim.pinned_by.cause.value if claim and claim.pinned_by else None,
    }


class Truth:
    """The file of deeds. Its lines are never changed; a reader may follow it."""

    def __init__(self, directory: Path) -> None:
        self._lines = DurableLines(directory / "splits.jsonl")

    def append(self, deeds: Sequence[Deed]) -> None:
        """On the disk when this returns. Raises OSError, and then none of them is there."""
        self._lines.append(b"".join(orjson.dumps(one) + b"\n" for one in deeds))

    def epochs(self) -> dict[str, int]:
        """The highest epoch each target ever had, so that a lost state file never gives one twice."""
        highest: dict[str, int] = {}
        with self._lines.path.open("rb") as lines:
            for line in lines:
                told = orjson.loads(line)
                highest[told["target"]] = max(highest.get(told["target"], 0), told["epoch"])
        return highest

    def close(self) -> None:
        self._lines.close()
