"""YAML text as a plain tree whose every node knows its line and column, with no way to say more.

Scalars stay text, whatever they look like. Aliases, anchors, tags, merge keys and duplicate keys are
refused: they make a file mean something other than what it says, and a few hundred bytes of aliases
grow to gigabytes. The tree is built from the parser's events, so depth is bounded before it is built.
"""

from dataclasses import dataclass, field

import yaml

from rampway.release.json_values import Plain
from rampway.release.scalars import shown
from rampway.release.sections import Path

SIZE_LIMIT = 256 * 1024  # bytes of UTF-8
DEPTH_LIMIT = 20
NULLS = frozenset({"", "~", "null", "Null", "NULL"})

Tree = dict[str, "Tree"] | list["Tree"] | str | None


@dataclass(frozen=True, order=True)
class Place:
    """A position in the text, counted from 1."""

    line: int
    column: int


class Unreadable(Exception):
    """The text cannot be read as one YAML document, so nothing behind `place` is known."""

    def __init__(self, place: Place, why: str) -> None:
        super().__init__(why)
        self.place = place
        self.why = why


@dataclass(frozen=True)
class Problem:
    """Something that is valid YAML and still refused."""

    place: Place
    path: Path
    message: str


@dataclass
class Document:
    """The tree, where its values and keys stand, and what was refused on the way."""

    tree: Tree = None
    values: dict[Path, Place] = field(default_factory=dict[Path, Place])
    keys: dict[Path, Place] = field(default_factory=dict[Path, Place])
    problems: list[Problem] = field(default_factory=list[Problem])

    def place_of(self, path: Path) -> Place:
        """Where a value stands; where it is absent, the nearest section that should hold it."""
        for length in range(len(path), -1, -1):
            found = self.values.get(path[:length])
            if found is not None:
                return found
        return Place(1, 1)

    def place_of_key(self, path: Path) -> Place:
        """Where a key stands; an item of a list has none and stands where its value does."""
        return self.keys.get(path) or self.place_of(path)


def read_yaml(text: str) -> Document:
    """Read one document. Raises Unreadable."""
    if len(text) > SIZE_LIMIT or len(text.encode(errors="replace")) > SIZE_LIMIT:
        raise Unreadable(Place(1, 1), f"is larger than {SIZE_LIMIT // 1024} KB")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        raise _unreadable_character(text, error.position) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        why = ": ".join(part for part in (error.context, error.problem) if part)
        raise Unreadable(place, f"is not YAML: {why}") from None
    except (ValueError, OverflowError):  # PyYAML hands an escape such as "\UFFFFFFFF" to chr()
        why = "is not YAML: behind this place an escape names no character"
        raise Unreadable(builder.place, why) from None
    return builder.document


def _unreadable_character(text: str, position: int) -> Unreadable:
    before = text[:position]
    line_start = before.rfind("\n") + 1
    place = Place(before.count("\n") + 1, position - line_start + 1)
    return Unreadable(place, f"holds the character U+{ord(text[position]):04X}, which YAML forbids")


@dataclass
class _Open:
    """A mapping or list that is being filled; `key` is the mapping's key that awaits its value."""

    path: Path
    filled: "dict[str, Tree] | list[Tree]"
    key: str | None = None
    detached: bool = False  # the key is refused: read its value, keep nothing


class _Builder:
    """Takes parser events, one at a time, and fills the document."""

    def __init__(self) -> None:
        self.document = Document()
        self.open: list[_Open] = []
        self.documents = 0
        self.place = Place(1, 1)  # of the last event

    def take(self, event: yaml.Event) -> None:
        place = self.place = _place(event)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise Unreadable(place, "holds more than one document; keep the first")
        elif isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._take_node(event, place)

    def _take_node(self, event: yaml.NodeEvent, place: Place) -> None:
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.filled, dict) and top.key is None:
            self._take_key(event, place, top, top.filled)
            return
        path = self._path(top)
        self._refuse_extras(event, place, path)
        self.document.values.setdefault(path, place)
        self._put(top, self._value(event, path, place))

    def _take_key(
        self, event: yaml.NodeEvent, place: Place, top: _Open, filled: dict[str, Tree]
    ) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise Unreadable(place, "a key must be text, not an alias, a list or a mapping")
        key = event.value
        path = (*top.path, key)
        self._refuse_extras(event, place, path)
        top.key, top.detached = key, True
        if event.style is None and key in NULLS:
            self._refuse(place, path, "is not a key; every key needs a name")
        elif event.style is None and key == "<<":
            self._refuse(place, path, "merge keys are not accepted; write the keys out")
        elif path in self.document.keys:
            first = self.document.keys[path].line
            self._refuse(place, path, f"is given twice, first on line {first}")
        else:
            top.detached = False
            filled[key] = None
        self._refuse_characters(key, place, path)
        self.document.keys.setdefault(path, place)

    def _value(self, event: yaml.NodeEvent, path: Path, place: Place) -> Tree:
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_characters(event.value, place, path)
            if event.style is None:
                return None if event.value in NULLS else Plain(event.value)
            return event.value
        if isinstance(event, yaml.AliasEvent):
            return None
        filled: dict[str, Tree] | list[Tree]
        filled = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.open.append(_Open(path, filled))
        if len(self.open) > DEPTH_LIMIT:
            raise Unreadable(place, f"is nested deeper than {DEPTH_LIMIT} levels")
        return filled

    def _put(self, top: _Open | None, value: Tree) -> None:
        if top is None:
            self.document.tree = value
        elif isinstance(top.filled, list):
            top.filled.append(value)
        else:
            if top.key is not None and not top.detached:
                top.filled[top.key] = value
            top.key = None

    @staticmethod
    def _path(top: _Open | None) -> Path:
        if top is None:
            return ()
        step = len(top.filled) if isinstance(top.filled, list) else top.key
        return (*top.path, step if step is not None else "")

    def _refuse_extras(self, event: yaml.NodeEvent, place: Place, path: Path) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(
                place, path, f"aliases are not accepted: write the value of *{event.anchor}"
            )
        elif event.anchor is not None:
            self._refuse(place, path, f"anchors are not accepted: remove &{event.anchor}")
        if (
            isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
            and event.tag is not None
        ):
            short = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(place, path, f"tags are not accepted: remove {shown(short)}")

    def _refuse_characters(self, text: str, place: Place, path: Path) -> None:
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            self._refuse(
                place, path, "holds a character that cannot be stored (U+0000 or half a pair)"
            )

    def _refuse(self, place: Place, path: Path, message: str) -> None:
        self.document.problems.append(Problem(place, path, message))


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
