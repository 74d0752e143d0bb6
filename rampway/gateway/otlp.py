"""Brings spans to an OpenTelemetry collector over OTLP/HTTP, with OpenTelemetry's own SDK and exporter.

The exporter's other settings are those of the SDK's own environment variables: OTEL_EXPORTER_OTLP_HEADERS,
OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_COMPRESSION, OTEL_RESOURCE_ATTRIBUTES. Imported only
where spans are on: the libraries come with the extra `telemetry`.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from rampway import __version__
from rampway.gateway.settings import TelemetrySettings
from rampway.gateway.tracing import SpanRecord, attributes_of

_SEND_SECONDS: Final = 2.0  # for a batch, retries included


class OtlpDelivery:
    """Turns records into the SDK's spans, in the thread that delivers, and exports them."""

    def __init__(self, settings: TelemetrySettings, exporter: SpanExporter | None = None) -> None:
        """`exporter` is OTLP/HTTP to the settings' endpoint unless given."""
        # Its loggers would write lines that are no JSON into ours; what matters is told by the queue.
        quiet = logging.getLogger("opentelemetry")
        quiet.propagate = False
        quiet.addHandler(logging.NullHandler())
        self._exporter = exporter or OTLPSpanExporter(
            endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces",
            timeout=_SEND_SECONDS,
            session=_Session(),
        )
        self._ids = _GivenIds()
        self._ended = _Ended()
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not sampled never became a record
            resource=Resource.create(
                {"service.name": settings.service_name, "service.version": __version__}
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("rampway.gateway", __version__)

    def send(self, batch: Sequence[SpanRecord]) -> bool:
        for record in batch:
            self._make(record)
        spans, self._ended.spans = self._ended.spans, []
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def stop(self) -> None:
        self._exporter.shutdown()

    def _make(self, record: SpanRecord) -> None:
        told, outcome = record.span, record.outcome
        self._ids.trace_id = int(told.trace_id, 16)
        self._ids.span_id = int(told.span_id, 16)
        context = None
        if told.parent is not None:
            parent = SpanContext(
                int(told.parent.trace_id, 16),
                int(told.parent.span_id, 16),
                is_remote=not told.is_copy,
                trace_flags=TraceFlags(told.parent.flags),
            )
            context = set_span_in_context(NonRecordingSpan(parent))
        span = self._tracer.start_span(
            f"copy {record.route.target}" if told.is_copy else f"route {record.route.target}",
            context=context,
            kind=SpanKind.CLIENT if told.is_copy else SpanKind.SERVER,
            attributes=attributes_of(record),
            start_time=_nanoseconds(record.began_at),
        )
        ended_at = _nanoseconds(record.began_at + record.seconds)
        if outcome.kind is not None:
            span.set_status(Status(StatusCode.ERROR))
        if outcome.refused:
            span.add_event(
                "gen_ai.evaluation.result",
                {
                    "gen_ai.evaluation.name": "refusal",
                    "gen_ai.evaluation.score.label": "refused",
                },
                timestamp=ended_at,
            )
        span.end(ended_at)


def _nanoseconds(wall_seconds: float) -> int:
    """To the microsecond, which is what a double holds of today's time."""
    return round(wall_seconds * 1e6) * 1_000


class _Session(requests.Session):
    """Delivers to nobody but the collector. What `requests` and the exporter would overlook is seen here."""

    def request(self, *told: Any, **named: Any) -> requests.Response:  # noqa: ANN401 - passed on as they came
        answer = super().request(*told, **named)
        if answer.is_redirect or answer.is_permanent_redirect:
            # The exporter follows none, and takes one for a delivery.
            raise requests.TooManyRedirects(f"The collector answered {answer.status_code}.")
        return answer

    def merge_environment_settings(self, *told: Any, **named: Any) -> Any:  # noqa: ANN401 - same
        """The authority that is named for the collector comes before that of REQUESTS_CA_BUNDLE."""
        settings = super().merge_environment_settings(*told, **named)
        if isinstance(self.verify, str):
            settings["verify"] = self.verify
        return settings


class _GivenIds(IdGenerator):
    """Gives the ids that the record already has: they were sent upstream while the request ran."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Ended(SpanProcessor):
    """Keeps what has ended until the batch is whole."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: object = None) -> None:
        """Nothing is known of it yet that the record does not say."""

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)
