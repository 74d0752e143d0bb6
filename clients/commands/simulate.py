"""The command that plays a release thousands of times before it is started once."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.exits import Exit, Failure
from clients.opening import open_registry, registry_exists, run
from clients.output import Form, output_option, show, show_json, tell

if TYPE_CHECKING:
    from rampway.release.records import Target

SPEC_NAME = "release.yaml"
RUNS = 200


@click.command()
@click.argument(
    "file", type=click.Path(dir_okay=False, exists=True, path_type=Path), default=Path(SPEC_NAME)
)
@click.option(
    "--rps",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="Units per second of the target: requests, or new sessions or users.",
)
@click.option(
    "--runs",
    type=click.IntRange(10, 100_000),
    default=RUNS,
    show_default=True,
    help="Virtual releases in each world.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The dice.")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="STREAM=RATE",
    help="The baseline's rate of a stream, such as error=0.01; repeatable.",
)
@output_option
def simulate(
    file: Path, rps: float, runs: int, seed: int, rates: tuple[str, ...], form: Form
) -> None:
    """False rollbacks, missed harm and time to find it, if FILE's plan ran many times."""
    from clients.simulating import Asked, baseline_rates, simulated_text
    from clients.simulating import simulate as play_all
    from rampway.release.minimums import BelowMinimums
    from rampway.release.plan import compile_plan
    from rampway.release.specfile import SpecErrors, parse_spec

    given = dict(_rate(text) for text in rates)
    try:
        spec = parse_spec(file.read_text(encoding="utf-8"), filename=str(file))
        target = run(_target(spec.target))
        plan = compile_plan(spec, target)
    except (SpecErrors, BelowMinimums) as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    asked = Asked(runs=runs, units_per_second=rps, baseline=baseline_rates(plan, given), seed=seed)
    results = play_all(plan, asked)
    if form is Form.JSON:
        show_json(
            {
                "plan": plan.digest,
                "seed": seed,
                "units_per_second": rps,
                "worlds": [result.model_dump(mode="json") for result in results],
            }
        )
    else:
        show(simulated_text(plan, asked, results))


def _rate(text: str) -> tuple[str, float]:
    stream, _, value = text.partition("=")
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not stream or not 0 <= rate < 1:
        raise click.UsageError(f"--rate {text}: write STREAM=RATE with a rate from 0 to 1")
    return stream, rate


async def _target(name: str) -> "Target":
    """The registered target, or one with the usual minimums where nothing is registered yet."""
    from rampway.ports import NotFound
    from rampway.release.records import Target

    if registry_exists():
        async with open_registry() as registry:
            try:
                return (await registry.target(name)).target
            except NotFound:
                pass
    tell(f"{name} is not registered here: simulated with the usual minimums of a target.")
    return Target(name=name)
