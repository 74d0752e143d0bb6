"""The file that `rampway plan` writes and `rampway start` holds to: nothing it rests on may move."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue, ValidationError

from clients.exits import Exit, Failure
from rampway.gates.facts import Fact, digest_of
from rampway.reports.words import short

if TYPE_CHECKING:
    from clients.releasing import Draft

SUFFIX = ".json"


class Accepted(Fact):
    """Who lets a plan start that its traffic cannot decide, and why; kept in the record."""

    actor: str
    reason: str


class PlanFile(Fact):
    """What was planned, and all that it rests on.

    `spec_path` is relative to the plan's own directory; `spec`, `candidate`, `baseline` and `plan`
    are digests. `digest` covers everything else in the file.
    """

    kind: Literal["rampway plan"] = "rampway plan"
    target: str
    spec_path: str
    spec_text: str
    spec: str
    baseline: str
    candidate: str
    plan: str
    requests_per_second: float
    decidable: str
    accepted: Accepted | None = None

    @property
    def name(self) -> str:
        """The first digits of the plan's digest, which people call it by."""
        return short(self.plan)

    def sealed(self) -> dict[str, JsonValue]:
        """The file's content, with the digest over all of it."""
        content: dict[str, JsonValue] = self.model_dump(mode="json")
        return {**content, "digest": digest_of(content)}


def is_plan_file(path: Path) -> bool:
    """Whether a file given to `start` is a plan, by its name."""
    return path.suffix == SUFFIX


def spec_path_from(plan: Path, spec: Path) -> str:
    """Where the spec lies, seen from the plan's directory."""
    return Path(os.path.relpath(spec.absolute(), plan.absolute().parent)).as_posix()


def read_plan_file(path: Path, text: str) -> PlanFile:
    """Read a plan. Raises Failure when it is not one, or was changed after it was written."""
    from pydantic import TypeAdapter

    try:
        content = TypeAdapter(dict[str, JsonValue]).validate_json(text)
        digest = content.pop("digest", None)
        plan = PlanFile.model_validate(content)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise Failure(
            f"{path} is no plan: {field}: {first['msg']}. Next: rampway plan release.yaml",
            Exit.USAGE,
        ) from wrong
    if digest != digest_of(content):
        raise Failure(
            f"refused [plan changed]: {path} was changed after it was written. "
            f"Next: rampway plan {plan.spec_path}"
        )
    return plan


def write_plan(path: Path, plan: PlanFile) -> None:
    """Write a plan. Raises Failure naming the path."""
    import orjson

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(plan.sealed(), option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as failed:
        raise Failure(f"{path} cannot be written: {failed.strerror}") from failed


def check_unmoved(plan: PlanFile, draft: "Draft") -> None:
    """Check that a plan still holds. Raises Failure naming what moved since."""
    now = {
        "baseline moved": (
            plan.baseline,
            draft.standing.baseline.artifact,
            f"{plan.target} serves",
        ),
        "spec changed": (plan.spec, draft.spec.digest, f"{plan.spec_path} is"),
        "candidate changed": (plan.candidate, draft.artifact_digest, f"{plan.spec_path} asks for"),
        "plan changed": (plan.plan, draft.plan.digest, f"{plan.target} makes of it"),
    }
    for rule, (planned, found, what) in now.items():
        if planned != found:
            raise Failure(
                f"refused [{rule}]: {what} {short(found)} now, plan {plan.name} was made for "
                f"{short(planned)}. Next: rampway plan {plan.spec_path}"
            )
