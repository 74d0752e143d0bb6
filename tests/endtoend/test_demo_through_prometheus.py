"""The whole demo on a gateway of two processes, its evidence read from a Prometheus that scrapes it."""

from pathlib import Path

import pytest

from clients.demo import Demo
from clients.dev import any_ports
from support.prometheus import needs_prometheus
from workers.settings import EvidenceFrom

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), needs_prometheus]


async def test_the_three_releases_end_as_they_must_by_what_prometheus_scraped(
    tmp_path: Path,
) -> None:
    demo = Demo(
        tmp_path / "home",
        lambda _name, _progress: None,
        lambda _line: None,
        any_ports(),
        evidence=EvidenceFrom.PROMETHEUS,
    )

    async with demo.open():
        await demo.play()

    assert [shown.outcome.phase for shown in demo.shown] == [
        shown.scene.must_end for shown in demo.shown
    ]
    assert demo.all_as_they_must
