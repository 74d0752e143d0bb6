"""Prometheus over TLS: told nothing until it is proved to be ours, and nobody else is told anything."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from scripted_prometheus import Stub, history, source, stage, stub, success

from rampway.adapters.evidence_prometheus import Access, Prometheus
from rampway.ports import Unreachable
from support.certificates import Authority, authority, needs_openssl
from support.prometheus import needs_prometheus, prometheus

pytestmark = needs_openssl
TOKEN = SecretStr("a token for one Prometheus")


@pytest.fixture(scope="module", name="ours")
def _ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module", name="strangers")
def _strangers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "strangers")


def serving(by: Authority, address: str = "IP:127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*by.sign("prometheus", address))
    return context


def answers(handler: Stub) -> None:
    handler.send(success(history(scrapes=6)))


async def test_a_prometheus_of_our_authority_gets_the_token_and_is_believed(
    ours: Authority,
) -> None:
    with stub(answers, serving(ours)) as (url, heard):
        evidence = await stage(source(url, ca_file=ours.certificate, token=TOKEN))

    assert evidence.rows["error"] == [[i, 10, 1, 10, 1] for i in range(6)]
    assert heard[0]["Authorization"] == f"Bearer {TOKEN.get_secret_value()}"


@pytest.mark.parametrize("trusts", ["strangers", "the systems"])
async def test_a_prometheus_of_another_authority_is_refused_before_it_is_told_anything(
    ours: Authority, strangers: Authority, trusts: str
) -> None:
    access: dict[str, Any] = {"token": TOKEN}
    if trusts == "strangers":
        access["ca_file"] = strangers.certificate

    with (
        stub(answers, serving(ours)) as (url, heard),
        pytest.raises(Unreachable, match="SSLError"),
    ):
        await stage(source(url, **access))

    assert heard == []


async def test_a_certificate_of_ours_for_another_address_is_refused(ours: Authority) -> None:
    with (
        stub(answers, serving(ours, "DNS:prometheus.example")) as (url, heard),
        pytest.raises(Unreachable, match="SSLError"),
    ):
        await stage(source(url, ca_file=ours.certificate, token=TOKEN))

    assert heard == []


async def test_the_environment_cannot_name_another_authority(
    ours: Authority, strangers: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(strangers.certificate))
    with (
        stub(answers, serving(strangers)) as (url, heard),
        pytest.raises(Unreachable, match="SSLError"),
    ):
        await stage(source(url, ca_file=ours.certificate, token=TOKEN))

    assert heard == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("over_tls", [True, False])
async def test_no_redirect_takes_the_token_to_another_host(
    ours: Authority, status: int, *, over_tls: bool
) -> None:
    tls = serving(ours)
    with stub(answers, tls if over_tls else None) as (elsewhere, stolen):

        def away(handler: Stub) -> None:
            handler.send(b"", status, Location=f"{elsewhere}/api/v1/query")

        with (
            stub(away, tls) as (url, heard),
            pytest.raises(Unreachable, match=f"answered {status}"),
        ):
            await stage(source(url, ca_file=ours.certificate, token=TOKEN))

    assert len(heard) == 1
    assert stolen == []


async def test_plain_http_where_tls_is_meant_is_refused(ours: Authority) -> None:
    with stub(answers) as (url, heard):
        meant = source(url.replace("http:", "https:"), ca_file=ours.certificate, token=TOKEN)
        with pytest.raises(Unreachable, match="SSLError"):
            await stage(meant)

    assert heard == []


@needs_prometheus
def test_a_real_prometheus_that_demands_certificates_answers_ours_only(
    ours: Authority, strangers: Authority, tmp_path: Path
) -> None:
    certificate, key = ours.sign("server")
    (tmp_path / "web.yml").write_text(
        f"tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}\n"
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {ours.certificate}\n"
    )
    mine, strange = ours.sign("worker"), strangers.sign("worker")
    trusting = ssl.create_default_context(cafile=ours.certificate)
    trusting.load_cert_chain(*mine)

    def ask(url: str, **access: Any) -> object:  # noqa: ANN401 - any of Access
        asked = Prometheus(Access(url, **access))
        try:
            return asked.samples('up{job="none"}', at=1_790_000_000.0, seconds=60)
        finally:
            asked.close()

    flags = [f"--web.config.file={tmp_path / 'web.yml'}"]
    with prometheus(tmp_path, flags=flags, trusting=trusting) as url:
        ca = ours.certificate
        assert ask(url, ca_file=ca, cert_file=mine[0], key_file=mine[1]) == []
        for access in (
            {"ca_file": ca},
            {"ca_file": ca, "cert_file": strange[0], "key_file": strange[1]},
            {"ca_file": strangers.certificate, "cert_file": mine[0], "key_file": mine[1]},
        ):
            with pytest.raises(Unreachable, match="does not answer"):
                ask(url, **access)
