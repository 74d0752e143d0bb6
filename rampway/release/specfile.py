"""Reads `release.yaml`: every mistake at once, each with its line, column, rule and next step."""

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rampway.release.minimums import Shortfall
from rampway.release.scalars import shown
from rampway.release.sections import Offline, Path, Violation
from rampway.release.spec import FREE, NOT_BUILT, Spec
from rampway.release.yamltree import Document, Place, Tree, Unreadable, read_yaml

ERRORS_LIMIT = 200
PRUNINGS_LIMIT = 3  # passes in which unreadable values are left out to reach the rules between keys

# Stands in for what is missing or unreadable while the rules between the other keys are checked.
STAND_INS: dict[Path, Tree] = {
    ("target",): "x",
    ("owner",): "x",
    ("candidate",): {"model": "x"},
    ("serve",): {"upstream": "x"},
    ("offline",): {"cases": "x"},
}


POLICY_HINT = "a policy has the section offline alone; --spec reads a whole release.yaml"


@dataclass(frozen=True)
class SpecError:
    """One mistake; `path` is empty where the file as a whole is meant."""

    file: str
    line: int
    column: int
    path: str
    message: str
    suggestion: str = ""

    @property
    def text(self) -> str:
        """What is wrong and what to do, without the place."""
        named = f"{self.path}: {self.message}" if self.path else self.message
        return f"{named}; {self.suggestion}" if self.suggestion else named

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class SpecErrors(Exception):
    """`release.yaml` cannot be used; `errors` has its mistakes in the order of the file.

    All of them, but for a file that is something else altogether: then the first ERRORS_LIMIT.
    """

    def __init__(self, file: str, errors: Sequence[SpecError]) -> None:
        self.file = file
        found = sorted(set(errors), key=lambda error: (error.line, error.column, error.text))
        self.errors = tuple(found[:ERRORS_LIMIT])
        counted = "1 error" if len(found) == 1 else f"{len(found):,} errors"
        lines = [f"{file} has {counted}; nothing was started.", *map(str, self.errors)]
        super().__init__("\n".join(lines))


def parse_spec(text: str, *, filename: str) -> Spec:
    """Read the text of a `release.yaml`. Raises SpecErrors with every mistake at once."""
    document, tree = _read(text, filename, "needs keys such as target and candidate")
    return _Reading(document, filename).spec(tree)


def parse_policy(text: str, *, filename: str) -> Offline:
    """Read a file with the section `offline` alone, whose files of cases may stay unnamed.

    Raises SpecErrors with every mistake at once.
    """
    document, tree = _read(text, filename, "needs the key offline")
    return _Reading(document, filename).policy(tree)


def _read(text: str, filename: str, needs: str) -> tuple[Document, dict[str, Tree]]:
    try:
        document = read_yaml(text)
    except Unreadable as error:
        place = error.place
        only = SpecError(filename, place.line, place.column, "", error.why)
        raise SpecErrors(filename, [only]) from None
    if not _is_mapping(document.tree):
        raise SpecErrors(filename, [SpecError(filename, 1, 1, "", needs)])
    return document, document.tree


def locate_shortfalls(
    shortfalls: Sequence[Shortfall], text: str, *, filename: str
) -> tuple[SpecError, ...]:
    """Where in the text each value stands that is below its target's minimum."""
    reading = _Reading(read_yaml(text), filename)
    found = [reading.at_value(s.path, s.message) for s in shortfalls]
    return tuple(sorted(found, key=lambda error: (error.line, error.column)))


def locate_faults(
    faults: Sequence[tuple[Path, str, str]], text: str, *, filename: str
) -> tuple[SpecError, ...]:
    """Where in the text each fault stands: (path, message, what to do), found outside this package."""
    reading = _Reading(read_yaml(text), filename)
    return tuple(
        reading.at_value(path, message, suggestion) for path, message, suggestion in faults
    )


def as_annotations(errors: Sequence[SpecError]) -> tuple[str, ...]:
    """The errors as GitHub Actions workflow commands, one annotation on the file's line each.

    Source: GitHub's "Workflow commands", `::error file={name},line={line},col={col}::{message}`;
    the message escapes `%`, CR and LF, a property also `:` and `,`.
    """
    return tuple(
        f"::error file={_escaped_property(error.file)},line={error.line},col={error.column}"
        f"::{_escaped(error.text)}"
        for error in errors
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


class _Reading:
    """One attempt to read a document, and the mistakes found on the way."""

    def __init__(self, document: Document, filename: str) -> None:
        self.document = document
        self.filename = filename
        self.errors = [
            self._error(problem.place, problem.path, problem.message)
            for problem in document.problems
        ]
        self.unread: set[Path] = {problem.path for problem in document.problems}

    def spec(self, tree: dict[str, Tree]) -> Spec:
        pruned = self._without_nulls(tree, ())
        spec = self._validated(pruned)
        if self.errors or spec is None:
            raise SpecErrors(self.filename, self.errors)
        return spec

    def policy(self, tree: dict[str, Tree]) -> Offline:
        """The section `offline` of a file that has nothing else; the rest of a spec is made up."""
        for key in tree:
            if key != "offline":
                place = self.document.place_of_key((key,))
                self.errors.append(self._error(place, (key,), "unknown key", POLICY_HINT))
        filled: dict[str, Tree] = {str(path[0]): value for path, value in STAND_INS.items()}
        offline = tree.get("offline")
        if _is_mapping(offline):
            safety = offline.get("safety")
            named: dict[str, Tree] = {"cases": "x", **offline}
            if _is_mapping(safety):
                named["safety"] = {"cases": "x", **safety}
            filled["offline"] = named
        elif "offline" in tree:
            filled["offline"] = offline
        else:
            self.errors.append(self.at_value(("offline",), "is missing", POLICY_HINT))
        return self.spec(filled).offline

    def at_value(self, path: Path, message: str, suggestion: str = "") -> SpecError:
        """A mistake in a value, or one that is absent."""
        return self._error(self.document.place_of(path), path, message, suggestion)

    def _validated(self, tree: dict[str, Tree]) -> Spec | None:
        try:
            return Spec.model_validate(tree)
        except ValidationError as error:
            details = error.errors(include_url=False)
        told = details[:ERRORS_LIMIT]
        self.errors.extend(found for detail in told for found in self._told(detail))
        self._check_rules_between_readable_keys(tree, details)
        return None

    def _check_rules_between_readable_keys(
        self, tree: dict[str, Tree], details: list[ErrorDetails]
    ) -> None:
        """Leave out what could not be read, so that one visit shows the other mistakes too."""
        for _ in range(PRUNINGS_LIMIT):
            if any(_is_between_keys(detail) for detail in details):
                return
            for detail in details:
                self._leave_out(tree, _clean(detail["loc"]))
            try:
                Spec.model_validate(tree)
            except ValidationError as error:
                details = error.errors(include_url=False)
            else:
                return
            between = [detail for detail in details if _is_between_keys(detail)]
            self.errors.extend(found for detail in between for found in self._told(detail))

    def _leave_out(self, tree: dict[str, Tree], path: Path) -> None:
        """Remove the innermost key around a mistake, or put a stand-in where it is required."""
        self.unread.add(path)
        keys: list[str] = []
        for part in path:
            if isinstance(part, int):
                break
            keys.append(part)
        section = tree
        for key in keys[:-1]:
            inner = section.get(key)
            if not _is_mapping(inner):
                break
            section = inner
        else:
            if keys:
                section.pop(keys[-1], None)
        if path[:1] in STAND_INS:
            tree[cast("str", path[0])] = STAND_INS[path[:1]]

    def _without_nulls(self, tree: dict[str, Tree], path: Path) -> dict[str, Tree]:
        kept: dict[str, Tree] = {}
        for key, value in tree.items():
            here = (*path, key)
            if here in self.unread:
                continue
            if value is None:
                self.errors.append(
                    self.at_value(here, "has no value", "give one, or remove the key")
                )
                self.unread.add(here)
            elif _is_mapping(value) and here not in FREE:
                kept[key] = self._without_nulls(value, here)
            else:
                kept[key] = value
        return kept

    def _told(self, detail: ErrorDetails) -> Iterator[SpecError]:
        path = _clean(detail["loc"])
        kind = detail["type"]
        if kind == "extra_forbidden":
            place = self.document.place_of_key(path)
            yield self._error(place, path, "unknown key", _hint(path))
        elif kind == "missing":
            if not self._has_unread(path):
                yield self.at_value(path, "is missing", MISSING_HINTS.get(path, ""))
        elif kind == "violations":
            for violation in cast("tuple[Violation, ...]", detail.get("ctx", {})["violations"]):
                if not any(self._has_unread(about) for about in violation.about):
                    yield self._violation(path, violation)
        else:
            yield self.at_value(path, _message(detail), _nearest_choice(detail))

    def _violation(self, path: Path, violation: Violation) -> SpecError:
        place = self.document.place_of((*path, *(violation.at or violation.path)))
        return self._error(place, (*path, *violation.path), violation.message)

    def _has_unread(self, path: Path) -> bool:
        return any(
            unread[: len(path)] == path or path[: len(unread)] == unread for unread in self.unread
        )

    def _error(self, place: Place, path: Path, message: str, suggestion: str = "") -> SpecError:
        return SpecError(
            self.filename, place.line, place.column, _dotted(path), message, suggestion
        )


MISSING_HINTS: dict[Path, str] = {
    ("target",): "name the endpoint, as rampway target add registered it",
    ("owner",): "name who answers for this release",
    ("candidate",): "give the prompt or the model on trial",
    ("serve",): "name the upstream that serves the candidate",
    ("serve", "upstream"): "name an upstream of the gateway's settings",
    ("offline",): "name the cases of the offline gate",
    ("offline", "cases"): "name the file with the cases of the offline gate",
}


def _message(detail: ErrorDetails) -> str:
    got = shown(detail["input"])
    match detail["type"]:
        case "rampway":
            return detail["msg"]
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"needs keys below it, got {got}"
        case "tuple_type" | "list_type":
            return f"needs a list, got {got}"
        case "enum" | "literal_error":
            expected = detail.get("ctx", {}).get("expected", "")
            return f"must be {str(expected).replace(chr(39), '')}, got {got}"
        case _:
            return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {got}"


def _nearest_choice(detail: ErrorDetails) -> str:
    if detail["type"] not in {"enum", "literal_error"}:
        return ""
    choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    lowered = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(detail["input"]).lower(), lowered, n=1)
    return f"did you mean {lowered[near[0]]}?" if near else ""


def _hint(path: Path) -> str:
    """What an unknown key probably meant."""
    not_built = NOT_BUILT.get(cast("tuple[str, ...]", path))
    if not_built is not None:
        return f"{not_built}; remove the key"
    known = sorted(_keys_at(Spec, path[:-1]))
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _keys_at(model: type[BaseModel], path: Path) -> set[str]:
    """The keys a section knows, found by walking the models' annotations."""
    annotation: Any = model
    for part in path:
        section = _section_in(annotation)
        if isinstance(part, str) and section is not None and part in section.model_fields:
            annotation = section.model_fields[part].annotation
    section = _section_in(annotation)
    return set(section.model_fields) if section is not None else set()


def _section_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, types.UnionType, tuple}:
        for inner in get_args(annotation):
            found = _section_in(inner)
            if found is not None:
                return found
    return None


def _is_mapping(value: Tree) -> TypeGuard[dict[str, Tree]]:
    return isinstance(value, dict)


def _is_between_keys(detail: ErrorDetails) -> bool:
    return detail["type"] == "violations" and not detail["loc"]


def _clean(loc: tuple[int | str, ...]) -> Path:
    """Pydantic marks an error in a mapping's key by `[key]`."""
    return tuple(part for part in loc if part != "[key]")


_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


def _dotted(path: Path) -> str:
    return ".".join(
        str(part) if _PLAIN_KEY.fullmatch(str(part)) else shown(str(part)) for part in path
    )
