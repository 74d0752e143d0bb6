"""What every process of the gateway begins with: its event loop and its log."""

import asyncio
from collections.abc import Callable
from typing import TextIO

import structlog

from rampway.gateway.requestlog import about_request


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where it is installed: the budget of a request is reckoned with it."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def log_to(stream: TextIO) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            about_request,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
