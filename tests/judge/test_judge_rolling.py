"""The figures of a shadow that runs: of the last pairs only, and of one release."""

import json
from pathlib import Path
from typing import Any

import pytest

from rampway.judge.gold import load_grader
from rampway.judge.judging import Docket, Judge
from rampway.judge.rolling import PAIRS_MAX, WINDOW_SECONDS, Figures, Quantiles, Rolling, Seen
from rampway.judge.store import Store


def pair(at: float, *, old: int = 1, new: int = 1, old_ms: float = 10, new_ms: float = 10) -> Seen:
    return Seen(at, old, new, old_ms, new_ms)


def test_differences_are_the_candidates_less_the_baselines() -> None:
    rolling = Rolling(levels=5)
    for n in range(100):
        rolling.add(1, pair(n, old=4, new=2 if n < 10 else 4, old_ms=n + 1, new_ms=2 * (n + 1)))

    assert rolling.figures(100) == Figures(
        epoch=1,
        seconds=WINDOW_SECONDS,
        pairs=100,
        scored=100,
        score_difference=pytest.approx(-0.05),  # type: ignore[arg-type] # equal to such a number
        baseline=Quantiles(p50=50, p95=95),
        candidate=Quantiles(p50=100, p95=190),
    )


def test_what_is_older_than_the_window_is_left_out() -> None:
    rolling = Rolling(levels=2)
    for n in range(10):
        rolling.add(1, pair(n * 60.0, new=0 if n < 5 else 1))

    told = rolling.figures(9 * 60.0)

    assert told.pairs == 5
    assert told.score_difference == 0
    assert rolling.figures(10_000).pairs == 0
    assert rolling.figures(10_000).score_difference is None


def test_a_newer_release_begins_anew_and_an_older_one_adds_nothing() -> None:
    rolling = Rolling(levels=2)
    rolling.add(1, pair(0, new=0))
    rolling.add(2, pair(1))
    rolling.add(1, pair(2, new=0))

    told = rolling.figures(3)

    assert (told.epoch, told.pairs, told.score_difference) == (2, 1, 0)


def test_memory_is_bounded_and_what_has_no_score_or_latency_is_still_a_pair() -> None:
    rolling = Rolling(levels=2)
    for _ in range(PAIRS_MAX + 100):
        rolling.add(1, Seen(1.0, None, None, None, None))

    told = rolling.figures(2.0)

    assert (told.pairs, told.scored, told.score_difference) == (PAIRS_MAX, 0, None)
    assert (told.baseline, told.candidate) == (None, None)


def test_the_judge_rolls_what_it_reads_from_the_spool(tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"case_id": "c", "accepted": ["went"]}\n')
    docket = Docket("tutor", load_grader("set_match", gold, key_fields=()), judge_seconds=1.0)
    store = Store(tmp_path / "counts.sqlite3")
    judge = Judge(docket, tmp_path, store, lambda: 1_000.0)
    base = {"kind": "pair", "target": "tutor", "epoch": 3, "segment": 1, "i": 0}

    def half(answer: str, latency_ms: float) -> dict[str, Any]:
        return {"status": 200, "latency_ms": latency_ms, "body": {"answer": answer}}

    known = {**base, "request": {"case_id": "c"}}
    lines = [
        {**known, "baseline": half("went", 10), "candidate": half("goed", 50), "missing": None},
        {**known, "baseline": half("went", 20), "candidate": half("went", 60), "missing": None},
        {**base, "request": {}, "baseline": half("went", 30), "candidate": half("x", 70)},
        {**known, "baseline": half("went", 40), "candidate": None, "missing": "timeout"},
    ]
    (tmp_path / "spool-tutor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    judge.look()

    told = judge.figures()
    store.close()
    assert (told.epoch, told.pairs, told.scored, told.score_difference) == (3, 3, 2, -0.5)
    assert told.baseline == Quantiles(p50=20, p95=30)
    assert told.candidate == Quantiles(p50=60, p95=70)
