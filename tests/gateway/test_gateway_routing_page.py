"""What docs/routing.md tells other languages is what this gateway does."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from rampway.gateway.assignment import Split, assign
from rampway.gateway.terms import Arm, Reason

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
SALTS = {"A": bytes(range(32)), "B": b"\xff" * 32, "C": b"\x5a" * 32}
SHARES_BP = (1, 100, 500, 2_500, 10_000)


class Vector(NamedTuple):
    """A row of the page's table."""

    salt: str
    release: str
    unit: str
    point: str
    arms: str
    shadow_point: str
    judge_point: str
    pseudonym: str


def vectors() -> list[Vector]:
    table = PAGE.partition("## Test vectors")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([ABC] \|.*) \|$", table, re.MULTILINE)
    cells = [[cell.strip().strip("`") for cell in row.split("|")] for row in rows]
    return [Vector(*row)._replace(unit=row[2].replace("(empty)", "")) for row in cells]


def split(vector: Vector, *, share_bp: int = 0, shadow_bp: int = 0) -> Split:
    salt = SALTS[vector.salt]
    return Split(salt=salt, release=vector.release, share_bp=share_bp, shadow_bp=shadow_bp)


def test_the_page_has_vectors_of_every_salt_and_at_both_edges() -> None:
    assert {vector.salt for vector in vectors()} == set(SALTS)
    assert {"0", "99", "9999"} <= {vector.point for vector in vectors()}
    assert bytes(range(32)).hex() in PAGE


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.pseudonym)
def test_every_documented_vector_holds(vector: Vector) -> None:
    unit, still = vector.unit.encode(), split(vector)
    shadow_point = int(vector.shadow_point)

    arms = [assign(unit, split(vector, share_bp=share_bp)) for share_bp in SHARES_BP]

    assert still.point_bp(unit) == int(vector.point)
    assert " ".join("c" if arm is Arm.CANDIDATE else "b" for arm in arms) == vector.arms
    assert not split(vector, shadow_bp=shadow_point).copies(unit)
    assert split(vector, shadow_bp=shadow_point + 1).copies(unit)
    assert still.draw_point(unit) == int(vector.judge_point)
    assert still.pseudonym(unit) == vector.pseudonym


def test_the_page_explains_every_reason() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE)

    assert set(told) == {reason.value for reason in Reason}
