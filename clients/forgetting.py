"""Asks the gateway to erase what it wrote down of one unit."""

import sys
from dataclasses import dataclass

import httpx
from pydantic import JsonValue

from clients.exits import Failure
from clients.opening import open_gateway
from rampway.reports.words import integer

STDIN = "-"
FORGET_SECONDS = 300.0  # files of some hundred megabytes are read


@dataclass(frozen=True)
class Forgotten:
    """What was erased, or would be."""

    target: str
    lines: int
    files: int
    dry_run: bool

    @property
    def text(self) -> str:
        """One sentence; the unit is not in it, for screens are kept too."""
        done = "would be erased; nothing was" if self.dry_run else "erased"
        return f"{integer(self.lines)} lines in {self.files} files of {self.target} {done}."

    @property
    def facts(self) -> dict[str, JsonValue]:
        """For JSON."""
        return {
            "target": self.target,
            "lines": self.lines,
            "files": self.files,
            "dry_run": self.dry_run,
        }


def told_unit(unit: str) -> str:
    """The unit, or for `-` the first line of stdin, which no shell history keeps. Raises Failure."""
    found = sys.stdin.readline().rstrip("\n") if unit == STDIN else unit
    if not found:
        raise Failure("No unit was told. Next: give --unit, or write it to stdin for --unit -")
    return found


async def forget_unit(target: str, unit: str, *, dry_run: bool) -> Forgotten:
    """Erase a unit's lines at the gateway. Raises Failure where it refuses or does not answer."""
    async with open_gateway() as http:
        try:
            answer = await http.post(
                f"/v1/targets/{target}/forget",
                json={"unit": unit, "dry_run": dry_run},
                timeout=FORGET_SECONDS,
            )
        except httpx.HTTPError as silent:
            raise Failure(f"The gateway at {http.base_url} does not answer: {silent}.") from silent
        if not answer.is_success:
            raise Failure(f"The gateway refused: {answer.text[:200]}")
        told = answer.json()
    return Forgotten(target, int(told["lines"]), int(told["files"]), dry_run)
