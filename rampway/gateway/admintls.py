"""Mutual TLS of the admin listener: who has no certificate of the configured authority gets no answer."""

import ssl

from rampway.gateway.settings import AdminTlsSettings, BadSettings


def admin_context(settings: AdminTlsSettings) -> ssl.SSLContext:
    """A server's context that demands a client certificate (RFC 8446 4.4.2).

    Raises BadSettings, naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as wrong:
        raise BadSettings(
            f"admin_tls: {settings.certificate} with key {settings.key} cannot be used: {wrong}."
        ) from wrong
    try:
        context.load_verify_locations(settings.client_ca)
    except (OSError, ssl.SSLError) as wrong:
        raise BadSettings(
            f"admin_tls.client_ca: {settings.client_ca} cannot be used: {wrong}."
        ) from wrong
    return context
