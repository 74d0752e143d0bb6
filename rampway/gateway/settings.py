"""The gateway's settings: one TOML file, named by RAMPWAY_GATEWAY_CONFIG; the only reader of environment."""

import os
import tomllib
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.networks import HttpUrl

from rampway.gateway.terms import Headers

CONFIG_VARIABLE: Final = "RAMPWAY_GATEWAY_CONFIG"
TOKEN_VARIABLE: Final = "RAMPWAY_GATEWAY_TOKEN"  # noqa: S105 - the variable's name, not a token
MIB: Final = 1024 * 1024
KIB: Final = 1024
PROCESSES_MAX: Final = 64
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Bytes = Annotated[int, Field(ge=1, le=64 * 1024 * MIB)]
Rate = Annotated[float, Field(gt=0, le=1e12)]
Price = Annotated[float, Field(ge=0, le=1_000_000)]  # per million tokens, in any one currency


def _lower(name: object) -> object:
    return name.lower() if isinstance(name, str) else name


def _network(told: object) -> object:
    return ip_network(told) if isinstance(told, str) else told  # its errors name the rule


HeaderName = Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[a-z0-9-]{1,64}$")]
JsonPointer = Annotated[str, Field(pattern=r"^(/([^~/]|~[01])*)*$", max_length=512)]
Networks = tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...]
LOOPBACK: Final[Networks] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class BadSettings(Exception):
    """The settings cannot be used; the message says which line of whose making is wrong."""


class Part(BaseModel):
    """A table of the file: every key known, every value in its range."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_list(told: object) -> object:
    return (told,) if isinstance(told, str) else told


Pointers = Annotated[
    tuple[Annotated[str, Field(pattern=r"^(/([^~/]|~[01])*)+$", max_length=200)], ...],
    BeforeValidator(_as_list),
]


class ModelSettings(Part):
    """A model: what else its answers may call it, and what its tokens cost."""

    answers_as: tuple[str, ...] = ()
    prompt_price: Price = 0.0
    completion_price: Price = 0.0

    @property
    def is_priced(self) -> bool:
        return bool(self.prompt_price or self.completion_price)


class UpstreamSettings(Part):
    """Where an artifact is served. A path in `url` is a prefix; `headers` hold its credentials.

    `models` is keyed by the model that an artifact asks for; `*` is any other, or none.
    """

    url: str
    headers: Headers = {}
    artifact_header: HeaderName = "x-rampway-artifact"  # of answers: the digest that was served
    models: dict[Annotated[str, Field(min_length=1, max_length=200)], ModelSettings] = {}

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parsed = HttpUrl(url)
        if parsed.query or parsed.fragment or parsed.username or parsed.password:
            raise ValueError("an upstream's url has no query, no fragment and no credentials")
        return url.rstrip("/")


class UnitSettings(Part):
    """Whom a request is counted for: the first of `headers` that it has, else its id.

    Only a direct peer in `trusted_edges` may say it; of anybody else the id is drawn.
    """

    headers: Annotated[tuple[HeaderName, ...], Field(min_length=1, max_length=8)] = (
        "x-request-id",
    )
    trusted_edges: Networks = LOOPBACK


class TenantSettings(Part):
    """Values of `header`, from trusted edges, that are not dealt an arm but pinned to one."""

    header: HeaderName | None = None
    baseline: frozenset[str] = frozenset()
    candidate: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        if (self.baseline or self.candidate) and self.header is None:
            raise ValueError("pinned tenants need `header`, which names the tenant")
        both = sorted(self.baseline & self.candidate)
        if both:
            raise ValueError(f"a tenant has one arm; pinned to both: {', '.join(both)}")
        return self


class TimeoutSettings(Part):
    """In seconds. The time to the first byte is the target's own `timeout_seconds`."""

    connect: Seconds = 1.0
    between_chunks: Seconds = 60.0
    client_headers: Seconds = 10.0  # from a header's first byte to its last
    request_body: Seconds = 60.0
    client_keep_alive: Seconds = 75.0
    upstream_keep_alive: Seconds = 15.0  # shorter than the upstream's own
    drain: Seconds = 30.0


class LimitSettings(Part):
    """Bounds of one process."""

    request_body_bytes: Bytes = 8 * MIB
    examined_answer_bytes: Bytes = 256 * KIB  # JSON answers up to this are looked into
    examined_event_bytes: Bytes = 64 * KIB  # same, events of a stream
    upstream_connections: Count = 1_024  # per upstream
    units_remembered: Count = 131_072  # per segment, so that a unit counts once


class RouteKind(StrEnum):
    """How the answers of a route are read; `json` by the pointers that are configured."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"
    JSON = "json"


class RouteSettings(Part):
    """What the answers of one route tell, and where: JSON pointers, the first that holds a value.

    Each is looked up in a JSON answer, or in each event of a stream.
    """

    kind: RouteKind = RouteKind.JSON
    error: Pointers = ()  # anything there but null, false, 0 and what is empty is an error
    refusal: Pointers = ()  # same, is a refusal
    refusal_is: tuple[str, ...] = ()  # only these values are
    finish_reason: Pointers = ()
    model: Pointers = ()
    prompt_tokens: Pointers = ()
    completion_tokens: Pointers = ()
    stream_end: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _pointers_are_for_json(self) -> Self:
        if self.kind is not RouteKind.JSON and self.model_fields_set - {"kind"}:
            raise ValueError(f"a route of kind {self.kind} is read as its API says: no pointers")
        return self


class ShadowSettings(Part):
    """Bounds of the copies, per target. Budgets are by the minute, prices in any one currency."""

    queued_copies: Count = 256
    queued_bytes: Bytes = 16 * MIB
    connections: Count = 64
    timeout: Seconds = 5.0  # the target's `timeout_seconds` where that is shorter
    breaker_failures: Count = 20
    breaker_open: Seconds = 5.0
    open_pairs: Count = 4_096
    pair_bytes: Bytes = 16 * MIB
    body_bytes: Bytes = 256 * KIB
    copies_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    spend_per_minute: Rate | None = None
    price_per_million_read: Price = 0.0  # tokens that go into the candidate
    price_per_million_written: Price = 0.0
    load_in_flight: Count = 768  # requests; with more, none is copied
    load_lag: Seconds = 0.1  # of the event loop; same

    @model_validator(mode="after")
    def _money_has_a_price(self) -> Self:
        priced = self.price_per_million_read or self.price_per_million_written
        if self.spend_per_minute is not None and not priced:
            raise ValueError(
                "spend_per_minute needs a price: price_per_million_read or price_per_million_written"
            )
        return self


class JudgedSettings(Part):
    """Which answers that users saw are spooled for the judge while a canary is live, per target.

    With `per_second` 0, or without captured bodies, none are.
    """

    per_second: Annotated[float, Field(ge=0, le=1_000)] = 5.0  # candidate answers
    baseline_per_candidate: Annotated[int, Field(ge=4, le=9)] = 5
    held_bytes: Bytes = 16 * MIB  # until their slice is over


class FeedbackSettings(Part):
    """What users may say of an answer, and how long they may take."""

    receipts: bool = False  # answers carry one, so that feedback needs no memory here
    remembered_requests: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000  # for those without
    delay_seconds: Annotated[float, Field(ge=0, le=7 * 86_400)] = 60.0  # then a slice is sealed
    marks: Count = 200_000  # per target and epoch


class BodyFields(Part):
    """JSON pointers (RFC 6901) of what may be kept of bodies; `""` is all of one, JSON or text."""

    request: tuple[JsonPointer, ...] = ()
    answer: tuple[JsonPointer, ...] = ()

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not self.request and not self.answer:
            raise ValueError(
                'name what may be kept in `request` or `answer`; "" keeps all of a body'
            )
        return self


class CaptureSettings(Part):
    """What is written down of the traffic: of bodies only what `bodies` names, by target or for `*`.

    Without bodies the judge has nothing to score.
    """

    bodies: dict[Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]{1,64}|\*)$")], BodyFields] = {}
    redact: bool = True  # e-mail addresses, cards, telephone numbers and tokens in what is kept
    keep_days: Annotated[float, Field(gt=0, le=3_650)] = 30.0  # then a line is deleted
    traffic_log: bool = True
    answers: bool = False  # answers-<target>.jsonl: each request of a split, for a comparison
    traffic_log_lines: Count = 100_000  # waiting to be written
    traffic_log_bytes: Bytes = 256 * MIB  # then the file is renamed to .1
    spool_bytes: Bytes = 256 * MIB  # same
    spool_pending_bytes: Bytes = 32 * MIB


class AdminTlsSettings(Part):
    """Files in PEM. Only who has a certificate signed by `client_ca` reaches the admin API."""

    certificate: Path
    key: Path
    client_ca: Path


class TelemetrySettings(Part):
    """Spans, to an OpenTelemetry collector. They need the extra `telemetry`."""

    spans: Literal["off", "otlp"] = "off"
    endpoint: str = "http://127.0.0.1:4318"  # OTLP/HTTP; /v1/traces is added
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0  # part of the traces
    service_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "rampway-gateway"

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, endpoint: str) -> str:
        parsed = HttpUrl(endpoint)
        if parsed.query or parsed.fragment or parsed.username or parsed.password:
            raise ValueError(
                "the endpoint has no query, no fragment and no credentials; those come from"
                " OTEL_EXPORTER_OTLP_HEADERS"
            )
        return endpoint.rstrip("/")


class Settings(Part):
    """All settings of one gateway."""

    state_dir: Path
    upstreams: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")], UpstreamSettings]
    processes: Annotated[int, Field(ge=1, le=PROCESSES_MAX)] = 1
    data_host: str = "127.0.0.1"
    data_port: Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: Port = 8081
    units: UnitSettings = UnitSettings()
    tenants: TenantSettings = TenantSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    shadow: ShadowSettings = ShadowSettings()
    judged: JudgedSettings = JudgedSettings()
    routes: dict[Annotated[str, Field(pattern=r"^[/*]", max_length=200)], RouteSettings] = {}
    feedback: FeedbackSettings = FeedbackSettings()
    capture: CaptureSettings = CaptureSettings()
    admin_tls: AdminTlsSettings | None = None
    telemetry: TelemetrySettings = TelemetrySettings()
    admin_token: str | None = Field(default=None, min_length=16, repr=False)

    @model_validator(mode="after")
    def _admin_is_guarded(self) -> Self:
        guarded = self.admin_token is not None or self.admin_tls is not None
        if not guarded and self.admin_host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError(
                f"admin_host {self.admin_host} lets others set the traffic: set {TOKEN_VARIABLE}, "
                "or [admin_tls]"
            )
        return self


def from_environment() -> Settings:
    """Read the file that RAMPWAY_GATEWAY_CONFIG names, and the token. Raises BadSettings."""
    named = os.environ.get(CONFIG_VARIABLE)
    if not named:
        raise BadSettings(f"{CONFIG_VARIABLE} must name the gateway's TOML file.")
    return read(Path(named), admin_token=os.environ.get(TOKEN_VARIABLE) or None)


def read(path: Path, *, admin_token: str | None = None) -> Settings:
    """The settings in a TOML file. Raises BadSettings, naming the file, the key and the rule."""
    try:
        told = tomllib.loads(path.read_text())
    except OSError as missing:
        raise BadSettings(f"{path} cannot be read: {missing.strerror}.") from missing
    except tomllib.TOMLDecodeError as wrong:
        raise BadSettings(f"{path} is not TOML: {wrong}.") from wrong
    if "admin_token" in told:
        raise BadSettings(
            f"{path}: the admin token comes from {TOKEN_VARIABLE}, never from a file."
        )
    try:
        return Settings.model_validate({**told, "admin_token": admin_token})
    except ValidationError as wrong:
        raise BadSettings(f"{path}: {_sentences(wrong)}") from wrong


def _sentences(wrong: ValidationError) -> str:
    known = ", ".join(Settings.model_fields)
    told: list[str] = []
    for error in wrong.errors():
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            told.append(f"unknown key {key!r} (top level: {known})")
        elif key == "admin_token":
            told.append(f"{TOKEN_VARIABLE} needs at least 16 characters")
        else:
            told.append(f"{key}: {error['msg']}")
    return "; ".join(told)
