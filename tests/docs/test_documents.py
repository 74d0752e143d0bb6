"""Documents that are drawn from the code say what the code says."""

import re
from pathlib import Path

import pytest

from clients.exits import Exit
from clients.main import COMMANDS
from rampway.release.phases import Phase, Trigger
from rampway.reports.states import states_markdown
from workers.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


def test_the_state_diagram_is_the_one_of_the_table() -> None:
    assert (DOCS / "states.md").read_text() == states_markdown()


def test_the_diagram_names_every_phase_and_every_trigger() -> None:
    text = (DOCS / "states.md").read_text()

    assert all(phase.value in text for phase in Phase)
    assert all(trigger.value in text for trigger in Trigger)


def test_the_operations_page_names_every_setting_of_the_worker() -> None:
    text = (DOCS / "operations.md").read_text()

    assert all(f"`{PREFIX}{name.upper()}`" in text for name in Settings.model_fields)


def test_the_operations_page_names_every_command_and_every_exit_code() -> None:
    text = (DOCS / "operations.md").read_text()

    assert all(f"`{name}" in text for name in COMMANDS)
    assert all(re.search(rf"^\| {code.value} \|", text, re.MULTILINE) for code in Exit)


def test_every_invariant_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (I\d+) \|.*$", (DOCS / "invariants.md").read_text(), re.MULTILINE)
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "invariants.md").read_text()))

    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }

    assert rows == [f"I{number}" for number in range(1, 15)]
    assert named - written == set()


def test_every_threat_is_proven_by_tests_that_exist_or_said_to_be_open() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|([^|]*)\|$", _threats(), re.MULTILINE
    )
    threats = [row for row in rows if row[0] not in {"part", "---"}]
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }

    assert {kind for _, kind, *_ in threats} == set("STRIDE")
    assert (
        len(threats)
        == len(re.findall(r"^\| [A-Za-z ]+ \| [STRIDE] \|", _threats(), re.MULTILINE))
        > 40
    )
    assert set(re.findall(r"`(test_\w+)`", _threats())) - written == set()
    unproven = [
        threat for *_, threat, told, tests in threats if "`test_" not in tests and "**" not in told
    ]
    assert unproven == []


def _threats() -> str:
    return (DOCS / "threats.md").read_text()


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")]), ids=lambda page: page.name
)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []
