"""Who routes by what the authority decides: this one process, or several workers that must take it up."""

from typing import NamedTuple, Protocol

from rampway.gateway.splits import TargetSplit


class Reach(NamedTuple):
    """How many instances route a target now, and the names of those that do not do so as decided."""

    instances: int
    laggards: tuple[str, ...]


class Instances(Protocol):
    """What the authority asks of those that route."""

    def check(self, split: TargetSplit) -> None:
        """Raises BadInput where they could not route by this split, or not count it."""
        ...

    async def applied(self, target: str) -> None:
        """Returns when all route by what is in force on a target, or after a bound."""
        ...

    def reach(self, target: str) -> Reach: ...


class ThisProcess:
    """One process routes by a split in the moment in which it is decided."""

    def check(self, split: TargetSplit) -> None: ...

    async def applied(self, target: str) -> None: ...

    def reach(self, target: str) -> Reach:  # noqa: ARG002 - as the protocol has it
        return Reach(1, ())
