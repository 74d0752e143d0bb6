"""An artifact: everything that changes behaviour, under one digest.

What would be served the same has the same digest, so before hashing: line ends of the prompt become
LF and a leading byte order mark goes (the same file checked out on another system); a number that
is whole is written whole (`0.0` is `0`); what is empty or absent is left out, so that a part added
in a later release of Rampway does not change the digests of artifacts without it. Nothing else is
touched: spaces, the final newline, Unicode composition and the order of tools reach the model.
"""

import difflib
from typing import cast

from pydantic import JsonValue

from rampway.gates.facts import Fact, canonical, digest_of
from rampway.release.sections import Candidate

EXACT_INTEGER = 2**53
DIFF_LINES = 200
DIFF_WIDTH = 200


class PromptUnread(ValueError):
    """A candidate names a prompt file and its text was not handed in."""


class Artifact(Fact):
    """Prompt, model, retrieval index, tool schemas and parameters, normalised."""

    prompt: str | None = None
    model: str | None = None
    retrieval_index: str | None = None
    tools: tuple[JsonValue, ...] = ()
    parameters: dict[str, JsonValue] = {}

    @property
    def content(self) -> dict[str, JsonValue]:
        """What is hashed and kept in the registry: the parts that are there."""
        dumped = cast("dict[str, JsonValue]", self.model_dump(mode="json"))
        return {part: value for part, value in dumped.items() if value not in (None, [], {})}

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the content, as `sha256:<64 hex>`."""
        return digest_of(self.content)


def bundle(candidate: Candidate, *, prompt: str | None = None) -> Artifact:
    """The artifact of a candidate; `prompt` is the text of the file it names, if it names one.

    Raises PromptUnread when a file is named and its text is not given.
    """
    text = prompt
    if candidate.prompt is not None and candidate.prompt.text is not None:
        text = candidate.prompt.text
    if candidate.prompt is not None and text is None:
        raise PromptUnread(f"the text of {candidate.prompt.file} is needed to know the artifact")
    return Artifact(
        prompt=_normal_text(text) if candidate.prompt is not None and text is not None else None,
        model=candidate.model,
        retrieval_index=candidate.retrieval_index,
        tools=tuple(_normal(tool) for tool in candidate.tools),
        parameters={name: _normal(value) for name, value in candidate.parameters.items()},
    )


def diff(old: Artifact, new: Artifact) -> tuple[str, ...]:
    """What changes from one artifact to another, as lines for a plan; none when nothing does."""
    lines = [
        *_changed("model", _told(old.model), _told(new.model)),
        *_changed("retrieval_index", _told(old.retrieval_index), _told(new.retrieval_index)),
    ]
    for name in sorted({*old.parameters, *new.parameters}):
        before, after = _parameter(old, name), _parameter(new, name)
        lines += _changed(f"parameters.{name}", before, after)
    lines += _text_diff("tools", _tool_lines(old), _tool_lines(new))
    lines += _text_diff("prompt", _prompt_lines(old), _prompt_lines(new))
    return tuple(lines)


def _told(value: str | None) -> str:
    return "none" if value is None else value


def _parameter(artifact: Artifact, name: str) -> str:
    if name not in artifact.parameters:
        return "none"
    return canonical(artifact.parameters[name]).decode()


def _changed(part: str, before: str, after: str) -> list[str]:
    return [f"{part}: {before} -> {after}"] if before != after else []


def _prompt_lines(artifact: Artifact) -> list[str]:
    return (artifact.prompt or "").splitlines()


def _tool_lines(artifact: Artifact) -> list[str]:
    return [canonical(tool).decode() for tool in artifact.tools]


def _text_diff(part: str, old: list[str], new: list[str]) -> list[str]:
    """A unified diff under a heading that counts; long lines and long diffs are cut."""
    body = list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]
    if not body:
        return []
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    shown = [line if len(line) <= DIFF_WIDTH else f"{line[:DIFF_WIDTH]}…" for line in body]
    cut = len(shown) - DIFF_LINES
    rest = [f"  … {cut} more lines"] if cut > 0 else []
    return [
        f"{part}: +{added} -{removed} lines",
        *(f"  {line}" for line in shown[:DIFF_LINES]),
        *rest,
    ]


def _normal_text(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _normal(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_INTEGER:
        return int(value)
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    return value
