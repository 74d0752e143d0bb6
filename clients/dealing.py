"""`rampway router`: deals units to arms as the gateway would, and counts what became of them."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binom

from clients.exits import Exit, Failure
from rampway.gateway.assignment import SALT_BYTES, Split, assign
from rampway.gateway.terms import ALL_BP
from rampway.reports.words import integer, percent

CONFIDENCE = 0.999
UNITS_MAX = 10_000_000
TENANTS_SHOWN_MAX = 20
ALL = "all"
HEADINGS = (
    f"{'tenant':20} {'share':>7} {'candidate':>12} {'of units':>12} "
    f"{'99.9 % of fair deals':>26} {'moved back':>11}"
)


@dataclass(frozen=True)
class Dealt:
    """What one step gave the units of one tenant, or of all.

    `low` and `high` bound 99.9 % of fair deals: the exact binomial interval. `moved_back` units had
    the candidate one step before.
    """

    tenant: str
    share_bp: int
    units: int
    candidate: int
    low: int
    high: int
    moved_back: int

    @property
    def is_fair(self) -> bool:
        """Is the candidate's number inside the interval?"""
        return self.low <= self.candidate <= self.high

    @property
    def facts(self) -> dict[str, str | int | bool]:
        """For JSON."""
        return {**self.__dict__, "inside": self.is_fair}


def deal(
    units: Iterable[tuple[str, bytes]], *, salt: bytes, release: str, shares_bp: Sequence[int]
) -> list[Dealt]:
    """Deal every (tenant, unit) at each share, in order; all units first, then tenant by tenant."""
    splits = [
        Split(salt=salt, release=release, share_bp=share_bp, shadow_bp=0) for share_bp in shares_bp
    ]
    tallies: dict[str, _Tally] = {}
    overall = _Tally(len(splits))
    for tenant, unit in units:
        arms = [assign(unit, split) == "candidate" for split in splits]
        overall.add(arms)
        if tenant:
            tallies.setdefault(tenant, _Tally(len(splits))).add(arms)
    named = [(ALL, overall), *sorted(tallies.items())]
    return [
        _dealt(name, tally, step, share_bp)
        for name, tally in named
        for step, share_bp in enumerate(shares_bp)
    ]


def generated(count: int) -> Iterator[tuple[str, bytes]]:
    """Made-up units, without tenants."""
    return (("", b"unit-%d" % number) for number in range(count))


def read_units(path: Path) -> Iterator[tuple[str, bytes]]:
    """One unit per line, its tenant behind a tab; empty lines and repeated units are left out.

    Raises Failure (usage) where there are none, or too many.
    """
    seen: set[bytes] = set()
    for line in path.read_bytes().splitlines():
        unit, _, tenant = line.partition(b"\t")
        if unit and unit not in seen:
            seen.add(unit)
            if len(seen) > UNITS_MAX:
                raise Failure(f"{path} names more than {UNITS_MAX:,} units.", Exit.USAGE)
            yield tenant.decode(errors="replace"), unit
    if not seen:
        raise Failure(f"{path} names no unit. Next: write one per line", Exit.USAGE)


def read_salt(path: Path) -> bytes:
    """The salt in a file of 64 hexadecimal digits. Raises Failure (usage)."""
    told = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * SALT_BYTES}}}", told):
        raise Failure(f"{path}: a salt is {2 * SALT_BYTES} hexadecimal digits.", Exit.USAGE)
    return bytes.fromhex(told)


def shares_of(text: str) -> tuple[int, ...]:
    """`1,5,25,100` in basis points. Raises Failure (usage) for what the gateway would not split by."""
    shares_bp = tuple(share_of(part) for part in text.split(","))
    if list(shares_bp) != sorted(set(shares_bp)):
        raise Failure(f"Steps must climb, unlike {text}.", Exit.USAGE)
    return shares_bp


def share_of(text: str) -> int:
    """A share in percent, in basis points. Raises Failure (usage)."""
    try:
        share_bp = float(text) * 100
    except ValueError:
        share_bp = -1.0
    if not 0 < share_bp <= ALL_BP or abs(share_bp - round(share_bp)) > 1e-9:  # noqa: PLR2004 - rounding of a float
        raise Failure(f"{text!r} is no share: 0.01 to 100 percent, in steps of 0.01.", Exit.USAGE)
    return round(share_bp)


def told_units(split: Split, units: Sequence[str], share_bp: int) -> list[dict[str, str | int]]:
    """What the formula gives for each unit, as in the vectors of docs/routing.md."""
    return [
        {
            "unit": unit,
            "point": split.point_bp(raw),
            "share_bp": share_bp,
            "arm": assign(raw, split).value,
            "shadow_point": split.shadow_point_bp(raw),
            "judge_point": split.draw_point(raw),
            "pseudonym": split.pseudonym(raw),
        }
        for unit, raw in ((unit, os.fsencode(unit)) for unit in units)
    ]


def sim_text(dealt: Sequence[Dealt]) -> str:
    """The table of `rampway router sim`."""
    overall = [one for one in dealt if one.tenant == ALL]
    unfair = sum(not one.is_fair for one in dealt)
    moved = sum(one.moved_back for one in overall)
    fair = (
        "every step inside its interval" if not unfair else f"{unfair} of {len(dealt)} rows outside"
    )
    back = "nobody moved back" if not moved else f"{integer(moved)} moved back"
    lines = [
        f"{integer(overall[0].units)} units over {len(overall)} step{'s' * (len(overall) > 1)}: {fair}, {back}.",
        HEADINGS,
    ]
    tenants = list(dict.fromkeys(one.tenant for one in dealt))
    shown = set(tenants[: TENANTS_SHOWN_MAX + 1])
    lines += [_row(one) for one in dealt if one.tenant in shown]
    if len(tenants) > len(shown):
        lines.append(f"{len(tenants) - len(shown)} more tenants: --output json")
    return "\n".join(lines)


def _row(one: Dealt) -> str:
    interval = f"{integer(one.low)} to {integer(one.high)}"
    mark = "" if one.is_fair else "  outside"
    return (
        f"{one.tenant[:20]:20} {percent(one.share_bp / ALL_BP, 2):>7} {integer(one.candidate):>12} "
        f"{integer(one.units):>12} {interval:>26} {integer(one.moved_back):>11}{mark}"
    )


class _Tally:
    """How many units each step gave the candidate, and took from it again."""

    def __init__(self, steps: int) -> None:
        self.units = 0
        self.candidate = [0] * steps
        self.moved_back = [0] * steps

    def add(self, arms: Sequence[bool]) -> None:
        self.units += 1
        before = False
        for step, exposed in enumerate(arms):
            self.candidate[step] += exposed
            self.moved_back[step] += before and not exposed
            before = exposed


def _dealt(tenant: str, tally: _Tally, step: int, share_bp: int) -> Dealt:
    low, high = binom.interval(CONFIDENCE, tally.units, share_bp / ALL_BP)
    return Dealt(
        tenant=tenant,
        share_bp=share_bp,
        units=tally.units,
        candidate=tally.candidate[step],
        low=int(low),
        high=int(high),
        moved_back=tally.moved_back[step],
    )
