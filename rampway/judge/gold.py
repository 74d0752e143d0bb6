"""Reads a gold file: JSON lines, one case a line, each with the answers that are accepted for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from rampway.judge.graders import Gold, Grader, SetMatch, normalised


class UnknownGrader(Exception):
    """The settings ask for a grader that does not exist."""


class GoldUnusable(Exception):
    """The gold file cannot be read, or says of its cases what cannot be meant."""


GRADERS: dict[str, Callable[[Gold], Grader]] = {SetMatch.name: SetMatch}


def load_grader(name: str, gold: Path, *, key_fields: tuple[str, ...] = ()) -> Grader:
    """Build the named grader from its gold file. Raises UnknownGrader or GoldUnusable."""
    if name not in GRADERS:
        raise UnknownGrader(f"There is no grader {name!r}. Graders: {', '.join(GRADERS)}.")
    return GRADERS[name](read_gold(gold, key_fields=key_fields))


def read_gold(path: Path, *, key_fields: tuple[str, ...] = ()) -> Gold:
    """Read a gold file; `key_fields` are the fields that tell its cases apart. Raises GoldUnusable."""
    accepted: dict[str, frozenset[str]] = {}
    case_by_key: dict[tuple[str, ...], str] = {}
    for where, fields in _lines(path):
        case = _case(where, fields)
        if case.case_id in accepted:
            raise GoldUnusable(f"{where}: case {case.case_id!r} is there twice.")
        accepted[case.case_id] = frozenset(case.accepted)
        if key_fields:
            key = _key(where, fields, key_fields)
            if key in case_by_key:
                raise GoldUnusable(
                    f"{where}: {', '.join(key_fields)} are those of case {case_by_key[key]!r} too. "
                    "Next: name key_fields that tell all cases apart."
                )
            case_by_key[key] = case.case_id
    if not accepted:
        raise GoldUnusable(f"The gold file {path} holds no case.")
    return Gold(accepted, case_by_key, key_fields)


class _Case(BaseModel):
    """What the graders need of a line; its other fields are slices and keys."""

    model_config = ConfigDict(strict=True)

    case_id: Annotated[str, Field(min_length=1)]
    accepted: Annotated[list[str], Field(min_length=1)]


_FIELDS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def _lines(path: Path) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """The fields of each line that is not blank, and where it stands."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise GoldUnusable(f"The gold file {path} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"{path}:{number}", _FIELDS.validate_json(line)
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                raise GoldUnusable(f"{path}:{number}: {message}. {_A_CASE}") from error


def _case(where: str, fields: dict[str, JsonValue]) -> _Case:
    try:
        case = _Case.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise GoldUnusable(f"{where}: {name}: {first['msg']}. {_A_CASE}") from error
    if not all(normalised(answer) for answer in case.accepted):
        raise GoldUnusable(
            f"{where}: case {case.case_id!r} accepts an answer that is empty but for spaces and "
            "punctuation: saying nothing would be right."
        )
    return case


def _key(where: str, fields: dict[str, JsonValue], key_fields: tuple[str, ...]) -> tuple[str, ...]:
    for name in key_fields:
        if name not in fields:
            raise GoldUnusable(f"{where}: there is no field {name!r}, which key_fields names.")
    return tuple(str(fields[name]) for name in key_fields)


_A_CASE = 'A case is {"case_id": "…", "accepted": ["…"]}.'
