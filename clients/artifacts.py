"""Reads an artifact, and how it is served, from a release.yaml or from a file of its own."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from clients.exits import Exit, Failure
from clients.releasing import read_text
from rampway.release.artifact import Artifact, bundle
from rampway.release.sections import Candidate
from rampway.release.specfile import SpecErrors, parse_spec
from rampway.release.splits import Serve
from rampway.release.yamltree import Tree, Unreadable, read_yaml


@dataclass(frozen=True)
class Described:
    """An artifact; `serve` is None where the file does not say how it is served."""

    artifact: Artifact
    serve: Serve | None


async def read_artifact(path: Path) -> Described:
    """Read a release.yaml (its candidate), or a file that holds a candidate's keys alone.

    Raises Failure (usage) with every error at once.
    """
    text = await read_text(path)
    tree = _tree(text, path)
    if "candidate" not in tree:
        return Described(await _bundled(_candidate(tree, path), path), None)
    try:
        spec = parse_spec(text, filename=path.name)
    except SpecErrors as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    serving = spec.serve
    serve = Serve(upstream=serving.upstream, fields=serving.fields, headers=dict(serving.headers))
    return Described(await _bundled(spec.candidate, path), serve)


def _tree(text: str, path: Path) -> dict[str, Tree]:
    try:
        document = read_yaml(text)
    except Unreadable as wrong:
        place = wrong.place
        raise Failure(
            f"{path.name}:{place.line}:{place.column}: {wrong.why}", Exit.USAGE
        ) from wrong
    if document.problems:
        told = [
            f"{path.name}:{problem.place.line}:{problem.place.column}: {problem.message}"
            for problem in document.problems
        ]
        raise Failure("\n".join(told), Exit.USAGE)
    if not isinstance(document.tree, dict):
        raise Failure(f"{path.name} needs keys such as model and prompt", Exit.USAGE)
    return document.tree


def _candidate(tree: dict[str, Tree], path: Path) -> Candidate:
    try:
        return Candidate.model_validate(tree)
    except ValidationError as wrong:
        told = [
            f"{path.name}: {'.'.join(map(str, error['loc'])) or 'the file'}: {error['msg']}"
            for error in wrong.errors(include_url=False)
        ]
        raise Failure("\n".join(told), Exit.USAGE) from wrong


async def _bundled(candidate: Candidate, path: Path) -> Artifact:
    prompt = candidate.prompt
    named = prompt.file if prompt is not None else None
    text = await read_text(path.parent / named) if named is not None else None
    return bundle(candidate, prompt=text)
