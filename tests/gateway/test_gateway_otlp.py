"""Where spans go: to the collector of the settings, proved where it has TLS, and to nobody else."""

import ssl
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", exc_type=ImportError)
from span_builders import record

from rampway.gateway.otlp import OtlpDelivery
from rampway.gateway.settings import TelemetrySettings
from support.certificates import authority, needs_openssl
from support.otlp_receiver import otlp_receiver

KEY = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=of%20the%20collector"}
AUTHORITY = "OTEL_EXPORTER_OTLP_CERTIFICATE"


def sent_to(endpoint: str) -> bool:
    delivery = OtlpDelivery(TelemetrySettings(spans="otlp", endpoint=endpoint))
    try:
        return delivery.send([record()])
    finally:
        delivery.stop()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)


def test_no_redirect_takes_spans_or_the_collectors_key_elsewhere() -> None:
    with otlp_receiver() as elsewhere, otlp_receiver(redirects_to=elsewhere.endpoint) as ours:
        assert not sent_to(ours.endpoint)

    assert ours.headers[0]["api-key"] == "of the collector"
    assert (elsewhere.headers, elsewhere.bodies) == ([], [])


@needs_openssl
def test_spans_go_to_a_collector_of_our_authority_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, strangers = authority(tmp_path / "ours"), authority(tmp_path / "strangers")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*ours.sign("collector"))

    with otlp_receiver(tls=tls) as collector:
        for trusted in (None, strangers.certificate):
            if trusted is not None:
                monkeypatch.setenv(AUTHORITY, str(trusted))
            assert not sent_to(collector.endpoint)
        assert (collector.headers, collector.bodies) == ([], [])

        monkeypatch.setenv(AUTHORITY, str(ours.certificate))
        assert sent_to(collector.endpoint)

    assert len(collector.spans) == 1
