"""Runs the tests against one mutant after the other, each in a process of its own that is forked warm.

The mutated source never touches a disk: the child compiles it in place of the module's file. A copy of
the tree is what is tested, so that editing goes on meanwhile.
"""

import importlib.abc
import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from changes import Mutant

TIMES_SLOWER = 2.5  # than the tests without a change: then it hangs, which a test has noticed
LEAST_SECONDS = 30.0
SLOW_IMPORTS = (
    "numpy",
    "scipy.stats",
    "scipy.special",
    "pydantic",
    "statsmodels.api",
    "statsmodels.stats.multitest",
    "pytest",
    "hypothesis.strategies",
)
COPIED = ("rampway", "workflows", "activities", "workers", "clients", "tests", "pyproject.toml")


@dataclass(frozen=True)
class Trial:
    """What the tests said: killed, timed out (which is killed too) or survived."""

    mutant: Mutant
    outcome: str
    seconds: float


def copy_tree(root: Path, copy: Path) -> None:
    """The parts of the tree that tests need, as they are now."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in COPIED:
        source = root / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(source, copy / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, copy / name)


def warm_up(copy: Path) -> None:
    """Import what is slow to import and never mutated, once, before the forks."""
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(copy / ".hypothesis")
    # A fork has none of the threads that its parent's linear algebra waits for.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in SLOW_IMPORTS:
        importlib.import_module(name)


def seconds_of(tests: Sequence[str]) -> float:
    """How long the tests take without a change. Raises RuntimeError when they fail."""
    began = time.monotonic()
    child = _start(None, tests)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(
            "the tests fail without a change: there is nothing to learn from mutants"
        )
    return time.monotonic() - began


def trials(
    mutants: Sequence[Mutant], tests: Sequence[str], limit_seconds: float, cores: int
) -> Iterator[Trial]:
    """Each mutant's trial, as they end."""
    return trials_of(mutants, lambda mutant: _start(mutant, tests), limit_seconds, cores)


def trials_of(
    mutants: Sequence[Mutant], start: Callable[[Mutant], int], limit_seconds: float, cores: int
) -> Iterator[Trial]:
    """Each mutant's trial in the process that `start` gives it, as they end."""
    waiting = list(reversed(mutants))
    running: dict[int, tuple[Mutant, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < cores:
                mutant = waiting.pop()
                running[start(mutant)] = (mutant, time.monotonic())
            yield from _ended(running, limit_seconds)
            time.sleep(0.005)
    finally:
        for child in running:
            os.kill(child, 9)
            os.waitpid(child, 0)


def _ended(running: dict[int, tuple[Mutant, float]], limit_seconds: float) -> Iterator[Trial]:
    for child, (mutant, began) in list(running.items()):
        took = time.monotonic() - began
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            del running[child]
            yield Trial(mutant, _outcome(status), took)
        elif took > limit_seconds:
            os.kill(child, 9)
            os.waitpid(child, 0)
            del running[child]
            yield Trial(mutant, "timed out", took)


def _outcome(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGVTALRM:
        return "timed out"
    return "killed" if status else "survived"


def _start(mutant: Mutant | None, tests: Sequence[str]) -> int:
    child = os.fork()
    if not child:
        if mutant is not None:
            sys.meta_path.insert(0, _Instead(mutant))
        run_pytest(tests)
    return child


def run_pytest(tests: Sequence[str], *plugins: object) -> NoReturn:
    """Run the tests, silently, and leave the process with what pytest says; for a fork."""
    code = 99
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        import pytest  # noqa: PLC0415 - imported by `warm_up`

        options = ["-x", "-q", "--no-header", "--tb=native"]
        for unneeded in ("cacheprovider", "cov", "xdist"):
            options += ["-p", f"no:{unneeded}"]
        # Hypothesis is imported before the fork, too early for its own assertions to be rewritten.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, *tests], plugins=[_Hurry(), *plugins]))
    finally:
        os._exit(code)


class _Hurry:
    """A mutant is killed by any example: no shrinking, and the same examples each time."""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings  # noqa: PLC0415 - pytest has to load it first

        settings.register_profile(
            "mutants",
            phases=[Phase.explicit, Phase.generate],
            derandomize=True,
            database=None,
            deadline=None,
        )
        settings.load_profile("mutants")


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutated source for one module's name."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"rampway.gates.{mutant.module}"
        self._source = mutant.source

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        del path, target
        if fullname != self._name:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, f"<mutant of {self._name}>", "exec"), module.__dict__)  # noqa: S102 - our own source with one change
