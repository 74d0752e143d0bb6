"""What each worker's meters show, as a tree of numbers: sent once a second, and summed up by the supervisor.

Numbers of a worker that has ended stay in the sum, so that no counter falls; its gauges do not. What was
counted since its last census is missing then: verdicts never read these.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeAlias

import orjson

from rampway.gateway.metrics import ArmMeter, Meters
from rampway.gateway.pairing import TargetTally
from rampway.gateway.sampling import ArmTally
from rampway.gateway.terms import Arm

Tree: TypeAlias = "int | float | list[Tree] | dict[str, Tree]"
CENSUS_SECONDS: Final = 1.0
_NOTHING: Final[dict[str, Tree]] = {}


class Dropped(NamedTuple):
    """What a file, or all files of one name, did not take."""

    path: Path
    dropped_full_total: int
    dropped_disk_total: int


class Spent(NamedTuple):
    """What a target's copies cost."""

    tokens_total: float
    spend_total: float


class Traces(NamedTuple):
    """What became of spans."""

    delivered: int = 0
    dropped_full: int = 0
    dropped_undelivered: int = 0


def encode(census: Tree) -> bytes:
    """One line, without its end."""
    return orjson.dumps(census)


def decode(told: bytes) -> Tree:
    tree: Tree = orjson.loads(told)
    return tree


def taken(
    meters: Meters,
    *,
    copied: Mapping[str, TargetTally],
    drawn: Mapping[str, Mapping[Arm, ArmTally]],
    files: Iterable[Dropped],
    breakers: Mapping[tuple[str, int], bool],
    budgets: Mapping[str, Spent],
    spans: Traces,
) -> Tree:
    """A worker's census; `breakers` tells of each target and epoch whether copies are held back."""
    return {
        "arms": _by_arm(meters.arms),
        "pinned": _by_arm(meters.pinned_arms),
        "copies": {target: _plain(meter) for target, meter in meters.copies.items()},
        "rejected": {**meters.rejected},
        "copied": {target: _plain(tally) for target, tally in copied.items()},
        "drawn": {
            f"{target} {arm}": _plain(tally)
            for target, arms in drawn.items()
            for arm, tally in arms.items()
        },
        "dropped": {
            file.path.name: [file.dropped_full_total, file.dropped_disk_total] for file in files
        },
        "budgets": {target: [*spent] for target, spent in budgets.items()},
        "spans": [*spans],
        "now": {
            "in_flight": meters.in_flight,
            "breakers": {
                f"{name} {epoch}": int(is_open) for (name, epoch), is_open in breakers.items()
            },
        },
    }


class Copiers:
    """All workers' copiers of one claim, as one with a breaker."""

    def __init__(self, is_open: bool) -> None:  # noqa: FBT001 - there is nothing else to tell
        self._is_open = is_open

    @property
    def breaker(self) -> Self:
        return self

    def is_open(self) -> bool:
        return self._is_open


class Censuses:
    """The sum over all workers, those that have ended among them."""

    def __init__(self) -> None:
        self._ended: Tree = {}
        self._newest: dict[int, Tree] = {}

    def take(self, slot: int, census: Tree) -> None:
        self._newest[slot] = census

    def end(self, slot: int) -> None:
        """The worker is no more: what it counted stays, what was going on there does not."""
        last = self._newest.pop(slot, {})
        if isinstance(last, dict):
            self._ended = _sum(self._ended, {k: v for k, v in last.items() if k != "now"})

    def meters(self) -> Meters:
        summed = Meters()
        for name, tree in _items(self._part("arms")):
            target, _, arm = name.partition(" ")
            _fill(summed.of(target, arm), tree)
        for name, tree in _items(self._part("pinned")):
            target, _, arm = name.partition(" ")
            _fill(summed.pinned(target, arm), tree)
        for target, tree in _items(self._part("copies")):
            _fill(summed.copies_of(target), tree)
        summed.rejected = _counts(self._part("rejected"))
        in_flight = self._part("now", "in_flight")
        summed.in_flight = in_flight if isinstance(in_flight, int) else 0
        return summed

    @property
    def copied_total(self) -> dict[str, TargetTally]:
        tallies: dict[str, TargetTally] = {}
        for target, tree in _items(self._part("copied")):
            _fill(tallies.setdefault(target, TargetTally()), tree)
        return tallies

    @property
    def drawn_total(self) -> dict[str, dict[Arm, ArmTally]]:
        tallies: dict[str, dict[Arm, ArmTally]] = {}
        for name, tree in _items(self._part("drawn")):
            target, _, arm = name.partition(" ")
            _fill(tallies.setdefault(target, {}).setdefault(Arm(arm), ArmTally()), tree)
        return tallies

    @property
    def budgets(self) -> dict[str, Spent]:
        return {
            target: Spent(*map(_number, tree))
            for target, tree in _items(self._part("budgets"))
            if isinstance(tree, list)
        }

    @property
    def delivered_total(self) -> int:
        return self._spans().delivered

    @property
    def dropped_full_total(self) -> int:
        return self._spans().dropped_full

    @property
    def dropped_undelivered_total(self) -> int:
        return self._spans().dropped_undelivered

    def dropped(self) -> Iterator[Dropped]:
        for name, tree in _items(self._part("dropped")):
            if isinstance(tree, list):
                full, disk = (n if isinstance(n, int) else 0 for n in tree)
                yield Dropped(Path(name), full, disk)

    @property
    def copiers(self) -> dict[str, tuple[int, "Copiers"]]:
        """The newest epoch of each target in which copies were made, and whether some worker holds them back."""
        newest: dict[str, tuple[int, Copiers]] = {}
        for name, held in _items(self._part("now", "breakers")):
            target, _, told = name.partition(" ")
            epoch = int(told)
            if target not in newest or newest[target][0] < epoch:
                newest[target] = epoch, Copiers(bool(held))
        return newest

    def _spans(self) -> Traces:
        tree = self._part("spans")
        return Traces(*(int(_number(one)) for one in tree)) if isinstance(tree, list) else Traces()

    def _part(self, *names: str) -> Tree:
        total = self._ended
        for census in self._newest.values():
            total = _sum(total, census)
        for name in names:
            total = dict(_items(total)).get(name, _NOTHING)
        return total


def _sum(one: Tree, other: Tree) -> Tree:
    """Numbers, lists place by place, and mappings key by key; what is of another form counts as none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: _sum(one[key], other[key])
            if key in one and key in other
            else one.get(key, other.get(key, 0))
            for key in {**one, **other}
        }
    if isinstance(one, list) and isinstance(other, list):
        return [_sum(a, b) for a, b in zip(one, other, strict=False)]
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one + other
    return one


def _by_arm(meters: Mapping[tuple[str, str], ArmMeter]) -> Tree:
    return {f"{target} {arm}": _plain(meter) for (target, arm), meter in meters.items()}


def _number(tree: Tree) -> int | float:
    return tree if isinstance(tree, int | float) else 0


def _plain(tally: ArmMeter | TargetTally | ArmTally) -> Tree:
    """All that a tally holds: numbers, lists and mappings of numbers."""
    return decode(orjson.dumps({name: getattr(tally, name) for name in _names(tally)}))


def _fill(tally: ArmMeter | TargetTally | ArmTally, tree: Tree) -> None:
    for name, value in _items(tree):
        if name in _names(tally):
            setattr(tally, name, value)


def _names(tally: ArmMeter | TargetTally | ArmTally) -> Iterable[str]:
    return tally.__slots__ if isinstance(tally, ArmMeter) else vars(tally)


def _items(tree: Tree) -> list[tuple[str, Tree]]:
    return sorted(tree.items()) if isinstance(tree, dict) else []


def _counts(tree: Tree) -> dict[str, int]:
    return {name: count for name, count in _items(tree) if isinstance(count, int)}
