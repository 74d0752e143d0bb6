"""Who may speak to the admin API: nobody without the token, or without a certificate of our authority."""

import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from rampway.gateway.admin import Admin
from rampway.gateway.admintls import admin_context
from rampway.gateway.settings import AdminTlsSettings, BadSettings
from support.certificates import Authority, authority, needs_openssl
from support.gateway_process import NOBODY, GatewayProcess, gateway_process
from workers.gateway_http import gateway_http
from workers.settings import Settings, SettingsError

TOKEN = "a token of sixteen or more"
pytestmark = needs_openssl


@dataclass(frozen=True)
class Guarded:
    """A gateway that demands certificates of `ours`, and a stranger's authority."""

    gateway: GatewayProcess
    ours: Authority
    strangers: Authority

    @property
    def url(self) -> str:
        return self.gateway.admin_url.replace("http:", "https:")

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ours.certificate)


@pytest.fixture(scope="module", name="guarded")
async def _guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Guarded]:
    directory = tmp_path_factory.mktemp("tls")
    ours, strangers = authority(directory / "ours"), authority(directory / "strangers")
    certificate, key = ours.sign("gateway")
    tables = (
        f'[admin_tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
        f'client_ca = "{ours.certificate}"\n'
    )
    with gateway_process({"a": NOBODY}, settings=tables) as gateway:
        yield Guarded(gateway, ours, strangers)


async def _get(url: str, context: ssl.SSLContext) -> int:
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as http, http.get(url) as answer:
        return answer.status


async def test_with_a_certificate_of_our_authority_the_admin_api_answers(guarded: Guarded) -> None:
    context = guarded.trusting()
    context.load_cert_chain(*guarded.ours.sign("worker"))

    assert await _get(f"{guarded.url}/v1/targets", context) == 200


@pytest.mark.parametrize("path", ["/v1/targets", "/metrics", "/readyz", "/healthz"])
async def test_without_a_certificate_not_even_health_is_told(guarded: Guarded, path: str) -> None:
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await _get(f"{guarded.url}{path}", guarded.trusting())


async def test_a_strangers_certificate_is_refused(guarded: Guarded) -> None:
    context = guarded.trusting()
    context.load_cert_chain(*guarded.strangers.sign("worker"))

    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await _get(f"{guarded.url}/v1/targets", context)


async def test_plain_http_is_refused_where_tls_is_demanded(guarded: Guarded) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{guarded.gateway.admin_url}/healthz")


async def test_worker_and_commands_reach_a_guarded_gateway_by_their_settings(
    guarded: Guarded,
) -> None:
    certificate, key = guarded.ours.sign("commands")
    settings = Settings(
        gateway_url=guarded.url,
        gateway_token=SecretStr(TOKEN),
        gateway_ca=guarded.ours.certificate,
        gateway_certificate=certificate,
        gateway_key=key,
    )

    async with gateway_http(settings, timeout=5) as http:
        answer = await http.get("/readyz")

    assert answer.status_code == 200
    torn = settings.model_copy(update={"gateway_key": guarded.ours.certificate})
    with pytest.raises(SettingsError, match="RAMPWAY_GATEWAY_KEY"):
        gateway_http(torn, timeout=5)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    ours = authority(tmp_path / "ours")
    certificate, key = ours.sign("gateway")
    good = AdminTlsSettings(certificate=certificate, key=key, client_ca=ours.certificate)

    assert admin_context(good).verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(BadSettings, match=r"nowhere\.pem"):
        admin_context(good.model_copy(update={"certificate": tmp_path / "nowhere.pem"}))
    with pytest.raises(BadSettings, match=r"client_ca: .*gateway\.key cannot be used"):
        admin_context(good.model_copy(update={"client_ca": key}))


async def test_without_the_token_every_route_is_refused_but_health() -> None:
    application = Admin.__new__(Admin).application()  # its routes need nothing of an instance
    routes = [
        (route.method, resource.canonical.format(target="t", unit="u"))
        for resource in application.router.resources()
        for route in resource
    ]

    with gateway_process({"a": NOBODY}, token=TOKEN) as gateway:
        told: dict[tuple[str, str], int] = {}
        async with aiohttp.ClientSession() as http:
            for method, path in routes:
                async with http.request(method, gateway.admin_url + path) as answer:
                    told[method, path] = answer.status

    assert len(told) >= 15
    open_to_all = {path for (_, path), status in told.items() if status != 401}
    assert open_to_all == {"/healthz"}
