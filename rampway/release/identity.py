"""What identifies a release: the same request twice is one release, in every process and for ever."""

from rampway.gates.facts import canonical, digest_of_bytes

NAME_LENGTH = 6


def release_id(target: str, artifact_digest: str, spec_digest: str, attempt: int) -> str:
    """64 hex digits: SHA-256 over target, artifact, spec and attempt in canonical JSON.

    A deliberate second try of the same artifact under the same spec has the next `attempt` (from 1).
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1, not {attempt}")
    parts = {
        "artifact": artifact_digest,
        "attempt": attempt,
        "spec": spec_digest,
        "target": target,
    }
    return digest_of_bytes(canonical(parts)).removeprefix("sha256:")


def release_name(target: str, identity: str) -> str:
    """What people call a release: `<target>-<first 6 hex digits of its id>`."""
    return f"{target}-{identity[:NAME_LENGTH]}"


def workflow_id(target: str, identity: str) -> str:
    """The workflow engine's id, by which it refuses a duplicate."""
    return f"release/{target}/{identity}"
