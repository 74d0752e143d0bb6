"""The HTTP client for the gateway's admin API: its address, its token, and TLS with our certificate."""

import ssl

import httpx

from workers.settings import Settings, SettingsError


def gateway_http(settings: Settings, *, timeout: float | httpx.Timeout) -> httpx.AsyncClient:
    """A client that nobody has used yet. Raises SettingsError where a certificate cannot be used."""
    token = settings.gateway_token
    return httpx.AsyncClient(
        base_url=settings.gateway_url,
        timeout=timeout,
        headers={"authorization": f"Bearer {token.get_secret_value()}"} if token else {},
        verify=_context(settings),
    )


def _context(settings: Settings) -> ssl.SSLContext | bool:
    if settings.gateway_ca is None and settings.gateway_certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=settings.gateway_ca)
        if settings.gateway_certificate is not None:
            context.load_cert_chain(settings.gateway_certificate, settings.gateway_key)
    except (OSError, ssl.SSLError) as wrong:
        raise SettingsError(
            "RAMPWAY_GATEWAY_CA, RAMPWAY_GATEWAY_CERTIFICATE or RAMPWAY_GATEWAY_KEY cannot be "
            f"used: {wrong}"
        ) from wrong
    return context
