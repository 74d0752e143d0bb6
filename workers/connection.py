"""How every program of ours reaches Temporal: one converter, one profile, one error sentence."""

import asyncio
from collections.abc import Mapping

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime

DEFAULT_ADDRESS = "localhost:7233"
TRIES = 3
PAUSE_SECONDS = 1.0


class TemporalUnreachable(Exception):
    """Temporal does not answer; nothing starts or climbs, open splits return to the baseline."""


async def connect(
    environ: Mapping[str, str] | None = None, runtime: Runtime | None = None
) -> Client:
    """Connect by Temporal's own environment variables (the process's, if none given) and profile.

    Raises TemporalUnreachable after a few tries.
    """
    config = ClientConfig.load_client_connect_config(
        override_env_vars=None if environ is None else dict(environ)
    )
    config.setdefault("target_host", DEFAULT_ADDRESS)
    for attempt in range(1, TRIES + 1):
        try:
            return await Client.connect(
                **config, data_converter=pydantic_data_converter, runtime=runtime
            )
        except RuntimeError as refused:
            if attempt == TRIES:
                address = config.get("target_host", DEFAULT_ADDRESS)
                raise TemporalUnreachable(
                    f"Temporal does not answer at {address} ({TRIES} tries). Nothing starts or "
                    "climbs; open splits return to the baseline by their lease. Next: rampway doctor"
                ) from refused
            await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError  # the loop returns or raises
