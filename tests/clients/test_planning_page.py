"""The examples of docs/planning.md are what the command prints."""

import re
from pathlib import Path

import pytest
from cli_builders import Cli

from rampway.release.policies import Policy
from rampway.release.records import Target

PAGE = Path(__file__).parent.parent.parent / "docs" / "planning.md"
EXAMPLES = re.findall(
    r"```console\n\$ rampway plan release.yaml --rps (\d+)\n(.*?)```", PAGE.read_text(), re.DOTALL
)


@pytest.mark.parametrize(
    ("policy", "number"),
    [(Policy.MISSION, 0), (Policy.MISSION, 1), (Policy.MISSION, 2), (Policy.AB_48H, 3)],
)
def test_the_planning_page_shows_what_plan_prints(cli: Cli, policy: Policy, number: int) -> None:
    rps, shown = EXAMPLES[number]
    cli.register(Target(name="grammar-tutor"))
    cli.write("prompts/tutor.md", "You teach verbs well.\n")
    cli("init", "--policy", policy.value)

    printed = cli("plan", "--rps", rps, "--dry-run")

    assert printed.stderr == ""
    assert printed.stdout.startswith(shown)


def test_the_planning_page_has_an_example_for_each_size() -> None:
    assert [rps for rps, _ in EXAMPLES] == ["50", "5", "1", "5"]
