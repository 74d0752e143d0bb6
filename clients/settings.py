"""What the command line reads from its environment and from a running `rampway dev`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from workers.settings import Settings

HOME_VARIABLE = "RAMPWAY_HOME"
ACTOR_VARIABLE = "RAMPWAY_ACTOR"
DEFAULT_HOME = Path(".rampway")
STACK_FILE = "stack.json"


class Stack(BaseModel):
    """Where the parts of a stack on this machine listen, and where they keep their files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    temporal: str
    ui_url: str
    gateway_url: str
    gateway_data_url: str
    judge_url: str
    environment: str = "dev"
    prometheus_url: str | None = None  # where evidence is read; None: from the gateway
    prometheus_scrape_seconds: float | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables by which every program of ours finds the stack."""
        return {
            HOME_VARIABLE: str(self.home),
            "TEMPORAL_ADDRESS": self.temporal,
            "TEMPORAL_NAMESPACE": "default",
            "RAMPWAY_GATEWAY_URL": self.gateway_url,
            "RAMPWAY_JUDGE_URL": self.judge_url,
            "RAMPWAY_REGISTRY_URL": f"sqlite:///{self.home / 'registry.db'}",
            "RAMPWAY_PAGES_FILE": str(self.home / "pages.jsonl"),
            "RAMPWAY_ENVIRONMENT": self.environment,
            "RAMPWAY_REPORT_URL": (self.home / "reports").as_uri(),
            **self._evidence,
        }

    @property
    def _evidence(self) -> dict[str, str]:
        if self.prometheus_url is None:
            return {}
        return {
            "RAMPWAY_EVIDENCE": "prometheus",
            "RAMPWAY_PROMETHEUS_URL": self.prometheus_url,
            "RAMPWAY_PROMETHEUS_SCRAPE_SECONDS": f"{self.prometheus_scrape_seconds}",
        }


def home(environ: Mapping[str, str] | None = None) -> Path:
    """The directory that holds everything Rampway writes on this machine."""
    source = os.environ if environ is None else environ
    return Path(source.get(HOME_VARIABLE, DEFAULT_HOME)).absolute()


def running_stack(directory: Path) -> Stack | None:
    """The stack that `rampway dev` or `rampway demo` left word of in this directory."""
    path = directory / STACK_FILE
    if not path.exists():
        return None
    return Stack.model_validate(json.loads(path.read_text()))


def adopt_stack() -> "Settings":
    """Settings of the local stack where the environment names nothing else."""
    from workers.settings import read_settings

    directory = home()
    stack = running_stack(directory)
    if stack is not None:
        for name, value in stack.environ.items():
            os.environ.setdefault(name, value)
    else:
        os.environ.setdefault("RAMPWAY_REGISTRY_URL", f"sqlite:///{directory / 'registry.db'}")
    return read_settings()


def ui_url() -> str:
    """Where the Temporal UI is; TEMPORAL_UI_URL for a server of your own."""
    stack = running_stack(home())
    return os.environ.get("TEMPORAL_UI_URL", stack.ui_url if stack else "http://localhost:8233")


def actor() -> str:
    """Who runs the command: RAMPWAY_ACTOR, the CI's actor, or the login name; not verified."""
    for name in (ACTOR_VARIABLE, "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER", "LOGNAME"):
        if os.environ.get(name):
            return os.environ[name]
    return f"uid-{os.getuid()}"
