"""Lines of a gateway's log of answers and the gold for them; a test changes the one fact it is about."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BASELINE = "sha256:" + "a" * 64
CANDIDATE = "sha256:" + "b" * 64
TENSES = ("past", "present", "future")
VERBS = ("go", "see", "walk", "bring")
BEGAN = 1_790_000_000.0


def asked(n: int) -> dict[str, str]:
    """Question n: each tense and verb in turn."""
    verb, tense = VERBS[n % len(VERBS)], TENSES[n // len(VERBS) % len(TENSES)]
    return {"case_id": f"{verb}.{tense}", "verb": verb, "tense": tense}


def live(n: int, arm: str, *, right: bool = True, **changed: object) -> dict[str, Any]:
    """The live answer to request n; right answers are the verb itself."""
    question = asked(n)
    return {
        "kind": "live",
        "ts": BEGAN + n,
        "request_id": f"u{n}",
        "unit": f"{n:016x}",
        "target": "tutor",
        "release": "tutor-1",
        "epoch": 1,
        "segment": 2,
        "share_bp": 5_000,
        "artifacts": {"baseline": BASELINE, "candidate": CANDIDATE},
        "arm": arm,
        "status": 200,
        "latency_ms": 20.0 + n % 17,
        "error": None,
        "request": question,
        "body": {"answer": question["verb"] if right else f"wrong by {arm}"},
        **changed,
    }


def pair(n: int, *, old: str = "right", new: str = "right", **changed: object) -> dict[str, Any]:
    """A copied request; an answer of `right` is the verb itself, any other is what it says."""
    question = asked(n)
    said = {"right": question["verb"]}
    halves = [
        {"status": 200, "latency_ms": 30.0 + n, "body": {"answer": said.get(text, text)}}
        for text in (old, new)
    ]
    line = live(n, "baseline", segment=1, share_bp=0, request_id=f"s{n}", unit=f"s{n:015x}")
    for name in ("arm", "status", "latency_ms", "error", "body"):
        del line[name]
    return {
        **line,
        "kind": "pair",
        "baseline": halves[0],
        "candidate": halves[1],
        "missing": None,
        **changed,
    }


def ab(
    units: int, *, old: float, new: float, seed: int = 1, slower: float = 1.0
) -> list[dict[str, Any]]:
    """An A/B at 50 %: right answers at these rates, gamma latencies, the candidate's times `slower`."""
    dice = random.Random(seed)
    lines: list[dict[str, Any]] = []
    for n in range(units):
        arm = dice.choice(("baseline", "candidate"))
        rate, factor = (old, 1.0) if arm == "baseline" else (new, slower)
        ms = round(dice.gammavariate(4, 10) * factor, 3)
        lines.append(live(n, arm, right=dice.random() < rate, latency_ms=ms))
    return lines


def write_log(path: Path, lines: Iterable[dict[str, Any] | str]) -> Path:
    """A log of these lines; a text is written as it is."""
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{line}\n" for line in told))
    return path


def write_gold(path: Path, *, also: str = "") -> Path:
    """The gold answers to every question; another word accepted is another grader."""
    rows = [
        {"case_id": f"{verb}.{tense}", "accepted": [verb, also] if also else [verb]}
        for verb in VERBS
        for tense in TENSES
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path
