"""Tries mutants where the tests are collected already: only the code of the mutated functions is swapped.

Ten times as quick as a pytest for each mutant, but a change outside of functions has no effect here,
nor has one on what test modules computed when they were imported. So only kills count: what survives
is tried again the slow way, by `trials`.
"""

import ast
import importlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from mmap import mmap
from types import FunctionType, ModuleType

import pytest
from changes import Mutant
from trials import Trial, run_pytest, trials_of

TIMES_SLOWER = 4  # than all tests without a change: then it hangs
MORE_SECONDS = 3.0
HANGS_SECONDS = 1.5  # and
HANGS_TIMES = 8  # what it takes without a change: then a test hangs
_NONE = -1


def quick_kills(mutants: Sequence[Mutant], tests: Sequence[str], cores: int) -> Iterator[Trial]:
    """The trials of those that the tests notice, as they end."""
    swappable = [mutant for mutant in mutants if _is_in_function(mutant)]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        run_pytest(tests, _Trials(swappable, writing, cores))
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            number, outcome, seconds = json.loads(line)
            if outcome != "survived":
                yield Trial(swappable[number], outcome, seconds)
    os.waitpid(child, 0)


def _is_in_function(mutant: Mutant) -> bool:
    return any(
        node.body[0].lineno <= mutant.line <= (node.end_lineno or 0)
        for node in ast.walk(ast.parse(mutant.original))
        if isinstance(node, ast.FunctionDef)
    )


class _Trials:
    """Takes the place of pytest's loop over its tests: all of them for each mutant, in a fork."""

    def __init__(self, mutants: Sequence[Mutant], writing: int, cores: int) -> None:
        self._mutants = mutants
        self._writing = writing
        self._cores = cores
        self._took: dict[str, dict[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took.setdefault(report.nodeid, {})[report.when or ""] = report.duration

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        began = time.monotonic()
        items = self._quickest_first(session.items, session)
        limit_seconds = TIMES_SLOWER * (time.monotonic() - began) + MORE_SECONDS
        hangs_seconds = {
            nodeid: HANGS_SECONDS + HANGS_TIMES * sum(phases.values())
            for nodeid, phases in self._took.items()
        }
        numbers = {id(mutant): number for number, mutant in enumerate(self._mutants)}
        places = {id(item): place for place, item in enumerate(session.items)}
        failed = memoryview(mmap(-1, 4 * max(1, len(self._mutants)))).cast("i")

        def start(mutant: Mutant) -> int:
            child = os.fork()
            if not child:
                code = 0  # also when the code cannot be swapped: then it is tried the slow way
                try:
                    swap(importlib.import_module(f"rampway.gates.{mutant.module}"), mutant.source)
                    code = 1
                    found = _first_failed(items, session, hangs_seconds)
                    failed[numbers[id(mutant)]] = _NONE if found is None else places[id(found)]
                    code = 0 if found is None else 1
                finally:
                    os._exit(code)
            return child

        for trial in trials_of(self._mutants, start, limit_seconds, self._cores):
            place = failed[numbers[id(trial.mutant)]]
            if trial.outcome == "killed" and place != _NONE:
                # What noticed one mutant is likely to notice the next, which is beside it.
                items.remove(session.items[place])
                items.insert(0, session.items[place])
            record = [numbers[id(trial.mutant)], trial.outcome, trial.seconds]
            os.write(self._writing, (json.dumps(record) + "\n").encode())
        return True

    def _quickest_first(
        self, items: Sequence[pytest.Item], session: pytest.Session
    ) -> list[pytest.Item]:
        """Runs them in a fork to see how long each takes: with the slowest setup in its file."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            failed = _first_failed(items, session) is not None
            with os.fdopen(writing, "w") as report:
                json.dump(self._took, report)
            os._exit(failed)
        os.close(writing)
        with os.fdopen(reading) as report:
            took = self._took = json.load(report)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError("the tests fail without a change")
        setup: dict[str, float] = {}
        for nodeid, phases in took.items():
            path = nodeid.partition("::")[0]
            setup[path] = max(setup.get(path, 0.0), phases["setup"])
        return sorted(
            items,
            key=lambda item: took[item.nodeid]["call"] + setup[item.nodeid.partition("::")[0]],
        )


def _first_failed(
    items: Sequence[pytest.Item],
    session: pytest.Session,
    hangs_seconds: Mapping[str, float] | None = None,
) -> pytest.Item | None:
    """The first test that fails; those after it are not run. One that hangs ends the process."""
    for item, after in zip(items, [*items[1:], None], strict=True):
        if hangs_seconds is not None:
            # Of processor time, so that a busy machine makes no test hang.
            signal.setitimer(signal.ITIMER_VIRTUAL, hangs_seconds[item.nodeid])
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return item
    return None


def swap(module: ModuleType, source: str) -> None:
    """Give the module's functions and methods the code that they have in another source."""
    fresh = ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    exec(compile(source, f"<mutant of {module.__name__}>", "exec"), fresh.__dict__)  # noqa: S102 - our own source with one change
    _swap_all(vars(module), vars(fresh), module.__name__)


def _swap_all(old: dict[str, object], new: dict[str, object], name: str) -> None:
    for key, fresh in new.items():
        known, found = _function(old.get(key)), _function(fresh)
        if known and found and known.__module__ == found.__module__ == name:
            known.__code__ = found.__code__
        elif isinstance(fresh, type) and fresh.__module__ == name:
            _swap_all(dict(vars(old[key])), dict(vars(fresh)), name)


def _function(value: object) -> FunctionType | None:
    for inside in ("fget", "__func__", "__wrapped__"):
        value = getattr(value, inside, None) or value
    return value if isinstance(value, FunctionType) else None
