"""`rampway simulate`: a plan played many times, the same figures from the same seed."""

from pathlib import Path

import pytest
from cli_builders import Cli

from clients.exits import Exit
from rampway.release.splits import Serve, Served
from rampway.release.template import demo_spec, demo_target

WIDTH = 120


@pytest.fixture
def spec(cli: Cli) -> Path:
    """A release of a registered demo target, so that a play takes milliseconds."""
    target = demo_target("grammar-tutor")
    baseline = Served(artifact="sha256:" + "a" * 64, serve=Serve(upstream="tutor-a"))
    cli.in_registry(lambda registry: registry.set_target(target, baseline))
    path = cli.directory / "release.yaml"
    path.write_text(
        demo_spec(target="grammar-tutor", model="b", upstream="tutor-b", cases="evals/x.jsonl")
    )
    return path


def asked(spec: Path, *more: str) -> tuple[str, ...]:
    return ("simulate", str(spec), "--rps", "160", "--runs", "10", *more)


def test_the_same_seed_gives_the_same_figures(cli: Cli, spec: Path) -> None:
    first = cli.json(*asked(spec, "--seed", "3"))

    assert cli.json(*asked(spec, "--seed", "3")) == first
    assert first["seed"] == 3
    worlds = {world["world"]["name"]: world for world in first["worlds"]}
    assert worlds["outage: every request fails"]["promoted"] == 0
    assert all(world["runs"] == 10 for world in worlds.values())


def test_the_table_answers_in_its_first_line_and_progress_goes_to_stderr(
    cli: Cli, spec: Path
) -> None:
    result = cli(*asked(spec))

    assert result.exit_code == Exit.OK
    assert result.stdout.startswith("A harmless release is stopped ")
    assert "of 70 releases" in result.stderr
    assert "releases" not in result.stdout.splitlines()[1]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())


def test_a_rate_that_is_none_is_a_usage_error(cli: Cli, spec: Path) -> None:
    result = cli(*asked(spec, "--rate", "error=many"))

    assert result.exit_code == Exit.USAGE
    assert "STREAM=RATE" in result.stderr


def test_a_file_with_errors_is_refused_before_anything_is_played(cli: Cli, spec: Path) -> None:
    spec.write_text(spec.read_text().replace("lease: 15s", "lease: 0s"))

    result = cli(*asked(spec))

    assert result.exit_code == Exit.USAGE
    assert "lease" in result.stderr
