"""The judge's settings: one TOML file, named by RAMPWAY_JUDGE_CONFIG.

host = "127.0.0.1"
port = 0                            # a free one, told in <state_dir>/judge.json
spool_dir = "spool"                 # where the gateway writes; relative to this file
state_dir = "judge"

[targets.grammar-tutor]
gold = "gold.jsonl"                 # {"case_id": "…", "accepted": ["…"]}, one case a line
judge_seconds = 1.0                 # a slice is sealed this long after its end
grader = "set_match"
key_fields = ["verb", "tense"]      # find the case of a request without a case_id
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rampway.judge.graders import SetMatch

CONFIG_VARIABLE = "RAMPWAY_JUDGE_CONFIG"


class SettingsUnusable(Exception):
    """The settings file is missing, or says something that no judge can be started with."""


class TargetSettings(BaseModel):
    """Whose answers are judged, and by what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gold: Path
    judge_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    grader: str = SetMatch.name
    key_fields: tuple[str, ...] = ()


# As the gateway names targets; the name becomes part of a file name in spool_dir.
TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Settings(BaseModel):
    """Where the judge listens, reads and keeps its counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    spool_dir: Path
    state_dir: Path
    targets: dict[TargetName, TargetSettings] = {}  # none: a new stack has nothing to judge yet


def settings_from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raise SettingsUnusable when the variable is not set or its file cannot be used."""
    named = environment.get(CONFIG_VARIABLE)
    if not named:
        raise SettingsUnusable(f"{CONFIG_VARIABLE} is not set. It names the judge's TOML file.")
    return read_settings(Path(named))


def read_settings(path: Path) -> Settings:
    """Read a settings file; its relative paths begin where it lies. Raises SettingsUnusable."""
    try:
        settings = Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsUnusable(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsUnusable(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        complaints = "\n".join(
            f"{path}: {'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors()
        )
        raise SettingsUnusable(complaints) from error
    return _with_paths_from(path.parent, settings)


def _with_paths_from(folder: Path, settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "spool_dir": folder / settings.spool_dir,
            "state_dir": folder / settings.state_dir,
            "targets": {
                name: target.model_copy(update={"gold": folder / target.gold})
                for name, target in settings.targets.items()
            },
        }
    )
