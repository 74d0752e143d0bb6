"""Which arm serves a unit: sticky, monotone, evenly spread, and the same in every implementation."""

import hmac
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from rampway.gateway.assignment import Split, assign
from rampway.gateway.terms import ALL_BP, Arm

SALT = bytes(range(32))
DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"
units = st.binary(max_size=60)


def split(share_bp: int, *, salt: bytes = SALT, release: str = "r1", shadow_bp: int = 0) -> Split:
    return Split(salt=salt, release=release, share_bp=share_bp, shadow_bp=shadow_bp)


def vectors() -> list[dict[str, Any]]:
    [block] = re.findall(r"```json vectors\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    return json.loads(block)


@given(unit=units, low=st.integers(0, ALL_BP), high=st.integers(0, ALL_BP))
def test_raising_the_share_never_moves_a_unit_back_to_the_baseline(
    unit: bytes, low: int, high: int
) -> None:
    low, high = sorted((low, high))

    before, after = assign(unit, split(low)), assign(unit, split(high))

    assert (before, after) != (Arm.CANDIDATE, Arm.BASELINE)


@given(unit=units, salt=st.binary(min_size=32, max_size=32), share_bp=st.integers(0, ALL_BP))
def test_a_unit_gets_the_same_arm_from_every_split_with_the_same_key(
    unit: bytes, salt: bytes, share_bp: int
) -> None:
    assert assign(unit, split(share_bp, salt=salt)) is assign(unit, split(share_bp, salt=salt))


@given(unit=units)
def test_nobody_is_exposed_at_share_0_and_everybody_at_10_000(unit: bytes) -> None:
    assert assign(unit, split(0)) is Arm.BASELINE
    assert assign(unit, split(ALL_BP)) is Arm.CANDIDATE


def test_a_million_ids_at_1_percent_land_inside_the_exact_binomial_interval() -> None:
    ids = 1_000_000
    at_one_percent = split(100, salt=b"\x29" * 32)

    exposed = sum(assign(b"%x" % i, at_one_percent) is Arm.CANDIDATE for i in range(ids))

    low, high = binom.interval(0.999, ids, 0.01)
    assert low <= exposed <= high


def test_a_ramp_from_1_over_5_and_25_to_100_percent_moves_no_unit_back() -> None:
    told = [b"user-%d" % i for i in range(50_000)]
    exposed: set[bytes] = set()

    for share_bp in (100, 500, 2_500, ALL_BP):
        step = split(share_bp, release="ramp")
        now = {unit for unit in told if assign(unit, step) is Arm.CANDIDATE}
        assert exposed <= now
        exposed = now

    assert exposed == set(told)


def test_every_point_of_the_ten_thousand_is_dealt_alike() -> None:
    units_dealt, groups = 200_000, 100
    dealt = split(0, salt=b"\x31" * 32)
    counts = Counter(dealt.point_bp(b"%d" % i) * groups // ALL_BP for i in range(units_dealt))

    fit = chisquare([counts[group] for group in range(groups)])

    assert fit.pvalue > 0.0001


def test_arm_shadow_and_judge_are_dealt_independently_of_each_other() -> None:
    dealt = split(5_000, salt=b"\x2f" * 32, shadow_bp=5_000)
    told = [b"%d" % i for i in range(40_000)]
    halves = {
        "arm": [assign(unit, dealt) is Arm.CANDIDATE for unit in told],
        "copied": [dealt.copies(unit) for unit in told],
        "judged": [dealt.draw_point(unit) < 2**63 for unit in told],
        "named": [int(dealt.pseudonym(unit), 16) < 2**63 for unit in told],
    }

    together = {
        (one, other): sum(a and b for a, b in zip(halves[one], halves[other], strict=True))
        for one, other in combinations(halves, 2)
    }

    low, high = binom.interval(0.9999, len(told), 0.25)
    assert {pair: n for pair, n in together.items() if not low <= n <= high} == {}


def test_another_process_with_another_hash_seed_deals_the_same_arms() -> None:
    code = (
        "from rampway.gateway.assignment import Split\n"
        "split = Split(salt=bytes(range(32)), release='r1', share_bp=0, shadow_bp=0)\n"
        "print([split.point_bp(b'u%d' % i) for i in range(500)])"
    )
    mine = [split(0).point_bp(b"u%d" % i) for i in range(500)]

    for seed in ("0", "1", "4242"):
        told = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert json.loads(told.stdout) == mine


def test_chosen_units_at_1_percent_land_inside_the_exact_binomial_interval() -> None:
    chosen = 100_000
    at_one_percent = split(100, salt=b"\x07" * 32)

    exposed = sum(
        assign(f"attacker-{i}".encode(), at_one_percent) is Arm.CANDIDATE for i in range(chosen)
    )

    low, high = binom.interval(0.999, chosen, 0.01)
    assert low <= exposed <= high


def test_what_is_copied_tells_nothing_of_the_arm() -> None:
    half = split(5_000, shadow_bp=5_000)
    told = [(half.copies(unit), assign(unit, half)) for unit in (b"%d" % i for i in range(20_000))]

    both = sum(copied and arm is Arm.CANDIDATE for copied, arm in told)

    low, high = binom.interval(0.999, 20_000, 0.25)
    assert low <= both <= high


def test_another_release_or_salt_deals_the_units_anew() -> None:
    told = [b"%d" % i for i in range(2_000)]
    mine = [split(5_000).point_bp(unit) for unit in told]

    assert mine != [split(5_000, release="r2").point_bp(unit) for unit in told]
    assert mine != [split(5_000, salt=b"\x01" * 32).point_bp(unit) for unit in told]


def test_a_pseudonym_stands_for_its_unit_in_one_release_only() -> None:
    assert split(0).pseudonym(b"u") == split(500).pseudonym(b"u")
    assert split(0).pseudonym(b"u") != split(0, release="r2").pseudonym(b"u")
    assert re.fullmatch(r"[0-9a-f]{16}", split(0).pseudonym(b"u"))


def test_the_documented_vectors_hold() -> None:
    for vector in vectors():
        one = Split(
            salt=bytes.fromhex(vector["salt"]),
            release=vector["release"],
            share_bp=vector["share_bp"],
            shadow_bp=vector["shadow_bp"],
        )
        unit = vector["unit"].encode()

        assert one.point_bp(unit) == vector["point_bp"]
        assert assign(unit, one) == vector["arm"]
        assert one.copies(unit) == vector["copied"]


@given(unit=units, salt=st.binary(min_size=32, max_size=32), release=st.text("abc-/7", min_size=1))
def test_the_point_is_the_documented_formula(unit: bytes, salt: bytes, release: str) -> None:
    told = hmac.digest(salt, release.encode() + b"\x00" + unit, "sha256")

    point = split(0, salt=salt, release=release).point_bp(unit)

    assert point == int.from_bytes(told[:8], "big") * 10_000 >> 64
