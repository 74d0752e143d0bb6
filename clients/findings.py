"""What a check of `rampway doctor` answers, in time and without ever raising."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum

from clients.exits import Failure

SECONDS = 5.0
START = "rampway dev"


class State(StrEnum):
    """What came of a check; later members are worse."""

    OK = "ok"
    UNASKED = "-"  # the part that would answer is itself not there
    ABSENT = "none"  # nobody has set this part up
    FAIL = "FAIL"


@dataclass(frozen=True)
class Check:
    """One answer: what was found and, where something is to be done, the remedy."""

    name: str
    state: State
    detail: str
    remedy: str = ""


async def bounded(name: str, asking: Awaitable[Check]) -> Check:
    """A check that never takes longer than 5 seconds and never raises."""
    from rampway.ports import AlreadyRecorded, NotFound, Tampered, Unreachable
    from rampway.release.splits import Refused

    try:
        async with asyncio.timeout(SECONDS):
            return await asking
    except TimeoutError:
        return Check(
            name, State.FAIL, f"no answer in {SECONDS:g} s", f"{START}, or mend its network"
        )
    except (AlreadyRecorded, NotFound, Refused, Tampered, Unreachable, Failure) as failed:
        told, _, remedy = str(failed).partition(" Next: ")
        return Check(name, State.FAIL, told, remedy)
