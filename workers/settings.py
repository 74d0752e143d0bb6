"""What a worker reads from its environment, in one place."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

PREFIX = "RAMPWAY_"
TASK_QUEUE = "rampway"


class SettingsError(Exception):
    """A setting is missing or malformed; the message names the variable and the rule."""


class EvidenceFrom(StrEnum):
    """Where the counts of both arms are read."""

    GATEWAY = "gateway"
    PROMETHEUS = "prometheus"


class Settings(BaseModel):
    """Addresses and names. Every field is read from RAMPWAY_<FIELD IN CAPITALS>.

    The Temporal address, namespace, TLS and API key come from Temporal's own environment variables
    and profiles (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, temporal.toml), as for its command line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry_url: str = "sqlite:///.rampway/registry.db"
    gateway_url: str = "http://127.0.0.1:8601"
    gateway_token: SecretStr | None = None
    gateway_ca: Path | None = None
    gateway_certificate: Path | None = None
    gateway_key: Path | None = None
    judge_url: str = "http://127.0.0.1:8602"
    # Before `evidence`, which asks whether it is there.
    prometheus_url: str | None = None
    prometheus_scrape_seconds: float = Field(default=5, gt=0, le=300)
    prometheus_token: SecretStr | None = None
    prometheus_token_file: Path | None = None
    prometheus_user: str | None = None
    prometheus_password: SecretStr | None = None
    prometheus_ca_file: Path | None = None
    prometheus_cert_file: Path | None = None
    prometheus_key_file: Path | None = None
    evidence: EvidenceFrom = EvidenceFrom.GATEWAY
    pages_file: Path = Path(".rampway/pages.jsonl")
    environment: str = Field(default="production", pattern=r"^[a-z0-9-]{1,32}$")
    task_queue: str = TASK_QUEUE
    report_url: str | None = None
    metrics_address: str | None = Field(default=None, pattern=r"^[0-9A-Za-z.:\[\]-]+:[0-9]{1,5}$")
    grace_seconds: float = Field(default=10, ge=0)

    @field_validator("prometheus_url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write http://host:port or https://host/path")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "no credentials, no query: see RAMPWAY_PROMETHEUS_TOKEN_FILE and _USER"
            )
        return url

    @field_validator("evidence")
    @classmethod
    def _is_told_where(cls, source: EvidenceFrom, told: ValidationInfo) -> EvidenceFrom:
        if source is EvidenceFrom.PROMETHEUS and told.data.get("prometheus_url") is None:
            raise ValueError("prometheus needs RAMPWAY_PROMETHEUS_URL")
        return source


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises SettingsError naming the variable."""
    source = os.environ if environ is None else environ
    found = {
        name: source[PREFIX + name.upper()]
        for name in Settings.model_fields
        if PREFIX + name.upper() in source
    }
    try:
        return Settings.model_validate(found)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        raise SettingsError(f"{variable}: {first['msg']}") from wrong
