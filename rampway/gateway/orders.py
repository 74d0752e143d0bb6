"""What a supervisor tells its workers; numbered, so that it is known who has done it."""

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from rampway.gateway.runs import Run
from rampway.gateway.settings import Settings


class Order(BaseModel):
    """What a worker is told when it starts, and again when settings are reloaded.

    `number` rises with each; `supervisor` is its process id.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    settings: Settings
    run: Path
    supervisor: int

    @classmethod
    def first(cls, settings: Settings, run: Run, *, data_port: int) -> Self:
        """Of the supervisor that calls; `data_port` is the one it has bound."""
        return cls(
            number=1,
            settings=_for_worker(settings, data_port),
            run=run.path,
            supervisor=os.getpid(),
        )

    def next(self, settings: Settings) -> Self:
        """The same, by other settings of the whole gateway."""
        told = _for_worker(settings, self.settings.data_port)
        return self.model_copy(update={"number": self.number + 1, "settings": told})

    def encode(self) -> bytes:
        """One line, without its end."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Raises ValueError."""
        return cls.model_validate_json(line)


class Flush(BaseModel):
    """Write what you hold; nothing more of `unit`, if one is named, who has asked the target to forget him."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="hex", val_json_bytes="hex")

    number: int
    target: str
    unit: bytes | None

    def encode(self) -> bytes:
        """One line, without its end."""
        return self.model_dump_json().encode()


def _for_worker(settings: Settings, data_port: int) -> Settings:
    """The settings of one worker: each draws its part of the judged answers.

    None remembers a request for its feedback: who is asked about it is the supervisor.
    """
    per_second = settings.judged.per_second / settings.processes
    judged = settings.judged.model_copy(update={"per_second": per_second})
    feedback = settings.feedback.model_copy(update={"remembered_requests": 0})
    return settings.model_copy(
        update={
            "data_port": data_port,
            "judged": judged,
            "feedback": feedback,
            "admin_token": None,
            "admin_host": "127.0.0.1",
        }
    )
