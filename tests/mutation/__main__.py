"""Mutation testing of the gates: `make mutants`, or `python tests/mutation --module engine --limit 50`.

What was tried is kept in `.rampway/mutants/trials.jsonl` and not tried again until the module or its
tests change. The page is written from what is there: benchmarks/MUTANTS.md.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from changes import Mutant, mutants_of
from collected import quick_kills
from survivors import REASONS
from trials import LEAST_SECONDS, TIMES_SLOWER, Trial, copy_tree, seconds_of, trials, warm_up

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".rampway" / "mutants"
PAGE = ROOT / "benchmarks" / "MUTANTS.md"
KILLED_LEAST = 0.95

# The tests that know a module, the quickest to notice first.
_OFFLINE = ("test_offline", "test_offline_safety", "test_offline_slices")
TESTS: dict[str, tuple[str, ...]] = {
    "ab": ("test_ab", "test_roles"),
    "advice": ("test_advice",),
    "bounds": ("test_bounds_by_hand", "test_bounds", "test_vectors"),
    "comparison": ("test_arms_compared",),
    "draws": ("test_draws_moments", "test_draws"),
    "engine": ("test_engine_edges", "test_engine", "test_vectors", "test_settling"),
    "evidence": ("test_plain_facts", "test_offline"),
    "facts": ("test_plain_facts",),
    "means": ("test_means", "test_online_quality"),
    "offline": _OFFLINE,
    "offline_safety": ("test_offline_safety", "test_offline"),
    "offline_slices": ("test_offline_slices", "test_offline"),
    "paired": ("test_paired", "test_offline"),
    "phrases": ("test_phrases",),
    "planning": ("test_planning_limits", "test_planning"),
    "plans": ("test_plan_defaults",),
    "probes": ("test_probes", "test_roles"),
    "proportions": ("test_proportions",),
    "quality": ("test_online_quality", "test_roles"),
    "ranks": ("test_ranks_ends", "test_ranks"),
    "rates": ("test_rates_waits", "test_roles", "test_rates", "test_rate_rows", "test_weigh"),
    "sample_ratio": ("test_sample_ratio", "test_roles"),
    "settling": ("test_settling", "test_weigh"),
    "shadow": ("test_shadow_limits", "test_shadow"),
    "sign_flips": ("test_paired",),
    "slices": ("test_slices", "test_rate_rows", "test_shadow", "test_fail_closed"),
    "stages": ("test_stages", "test_roles", "test_weigh", "test_settling", "test_fail_closed"),
    "steps": ("test_stages", "test_weigh", "test_roles", "test_fail_closed"),
    "verdicts": ("test_verdicts", "test_roles", "test_offline"),
    "weigh": ("test_weigh", "test_stages", "test_fail_closed"),
}


def main() -> int:
    """0 when enough are killed and every comparison is."""
    asked = _arguments()
    copy = HOME / "tree"
    copy_tree(ROOT, copy)
    warm_up(copy)
    for module in asked.module or TESTS:
        try:
            _try(
                module,
                copy,
                limit=asked.limit,
                cores=asked.cores,
                only=asked.kind,
                quick=asked.quick,
            )
        except KeyboardInterrupt:
            _say("\nStopped; what was tried is kept.")
            break
    enough = _write_page()
    return 0 if enough else 1


def _try(
    module: str, copy: Path, *, limit: int | None, cores: int, only: str | None, quick: bool
) -> None:
    tests = [path for path in map(_test_path, TESTS[module]) if (copy / path).exists()]
    stamp = _stamp([f"rampway/gates/{module}.py"], copy)
    tests_stamp = _stamp(tests, copy)
    # What was killed stays killed when tests are added; a survivor is tried again by new tests.
    known = {
        trial["key"]
        for trial in _trials()
        if trial["stamp"] == stamp
        and (trial["outcome"] != "survived" or trial["tests"] == tests_stamp)
    }
    source = (copy / "rampway" / "gates" / f"{module}.py").read_text(encoding="utf-8")
    everything = mutants_of(module, source)
    asked = [mutant for mutant in everything if only in {None, mutant.kind}]
    mutants = [mutant for mutant in asked if _key(mutant) not in known][:limit]
    if not mutants:
        _say(f"{module}: all {len(asked)} tried before")
        return
    _say(f"{module}: {len(mutants)} to try")
    began = time.monotonic()
    with (HOME / "trials.jsonl").open("a", encoding="utf-8") as log:

        def keep(trial: Trial) -> None:
            record = {
                "key": _key(trial.mutant),
                "stamp": stamp,
                "tests": tests_stamp,
                "module": module,
                "of": len(everything),
                "kind": trial.mutant.kind,
                "line": trial.mutant.line,
                "what": trial.mutant.key,
                "outcome": trial.outcome,
            }
            log.write(json.dumps(record) + "\n")
            log.flush()

        killed: set[str] = set()
        for trial in quick_kills(mutants, tests, cores):
            keep(trial)
            killed.add(_key(trial.mutant))
        left = [mutant for mutant in mutants if _key(mutant) not in killed]
        _say(f"{module}: {len(killed)} killed in {time.monotonic() - began:.0f} s")
        if quick:
            for mutant in left:
                _say(f"  {mutant.line}: {mutant.key}")
        else:
            _try_slowly(left, tests, cores, keep)


def _try_slowly(
    mutants: Sequence[Mutant], tests: Sequence[str], cores: int, keep: Callable[[Trial], None]
) -> None:
    if not mutants:
        return
    limit_seconds = max(LEAST_SECONDS, TIMES_SLOWER * seconds_of(tests))
    began = time.monotonic()
    survived = 0
    for number, trial in enumerate(trials(mutants, tests, limit_seconds, cores), start=1):
        keep(trial)
        survived += trial.outcome == "survived"
        left = (time.monotonic() - began) / number * (len(mutants) - number)
        progress = f"{number}/{len(mutants)}, {survived} survived, {left:.0f} s to go"
        _say(f"\r  {progress:70}", end="")
    _say("")


def _test_path(name: str) -> str:
    return f"tests/gates/{name}.py"


def _key(mutant: Mutant) -> str:
    return f"{mutant.place} | {mutant.key}"


def _stamp(paths: Sequence[str], copy: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update((copy / path).read_bytes())
    return digest.hexdigest()[:16]


def _trials() -> list[dict[str, str]]:
    log = HOME / "trials.jsonl"
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _write_page() -> bool:
    """From the newest trials of each module; False when too many survived."""
    last_stamp = {trial["module"]: trial["stamp"] for trial in _trials()}
    # Survivors first: what any test noticed counts as killed, whichever trial was the later.
    tried = sorted(_trials(), key=lambda trial: trial["outcome"] != "survived")
    newest = {t["key"]: t for t in tried if t["stamp"] == last_stamp[t["module"]]}
    by_module: dict[str, list[dict[str, str]]] = {}
    for trial in newest.values():
        by_module.setdefault(trial["module"], []).append(trial)
    lines = [
        "# Mutants of the gates",
        "",
        "One operator, number or return changed at a time; the tests have to notice. Written by",
        "`make mutants`. A mutant listed with a reason changes nothing that can be seen.",
        "",
        "| module | mutants | tried | killed | comparisons killed | survivors without a reason |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_module_row(module, by_module[module]) for module in sorted(by_module)]
    left = [trial for trial in newest.values() if trial["outcome"] == "survived"]
    for heading, some in (
        ("Survivors without a reason", [t for t in left if t["what"] not in REASONS]),
        ("Survivors that change nothing", [t for t in left if t["what"] in REASONS]),
    ):
        lines += ["", f"## {heading}", "", *_listed(some)]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return all(_enough(found) for found in by_module.values())


def _module_row(module: str, found: list[dict[str, str]]) -> str:
    comparisons = [trial for trial in found if trial["kind"] == "comparison"]
    open_ones = [t for t in found if t["outcome"] == "survived" and t["what"] not in REASONS]
    cells = (
        module,
        f"{max(int(trial['of']) for trial in found)}",
        f"{len(found)}",
        f"{_killed(found):.1%}",
        f"{_killed(comparisons):.1%} of {len(comparisons)}",
        f"{len(open_ones)}",
    )
    return "| " + " | ".join(cells) + " |"


def _killed(found: Sequence[dict[str, str]]) -> float:
    noticed = [t for t in found if t["outcome"] != "survived" or t["what"] in REASONS]
    return len(noticed) / len(found) if found else 1.0


def _enough(found: list[dict[str, str]]) -> bool:
    comparisons = [trial for trial in found if trial["kind"] == "comparison"]
    return _killed(found) >= KILLED_LEAST and _killed(comparisons) == 1


def _listed(found: Iterable[dict[str, str]]) -> list[str]:
    ordered = sorted(found, key=lambda trial: (trial["module"], int(trial["line"])))
    return [
        f"- `{trial['what'].replace(' | ', ': ', 1)}`"
        + (f" - {REASONS[trial['what']]}" if trial["what"] in REASONS else "")
        for trial in ordered
    ] or ["None."]


def _say(text: str, *, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201 - a command line prints


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__)
    parser.add_argument("--module", action="append", choices=sorted(TESTS))
    parser.add_argument("--kind", help="only comparison, arithmetic, constant, boolean or return")
    parser.add_argument("--limit", type=int, help="at most so many mutants of each module")
    parser.add_argument(
        "--quick", action="store_true", help="leave what survives a quick try for a later run"
    )
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
