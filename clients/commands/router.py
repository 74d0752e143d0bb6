"""The verbs that deal units to arms without a gateway: router sim, router assign."""

from pathlib import Path

import click

from clients.exits import Exit, leave
from clients.output import Form, output_option, show, show_json

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
UNITS = 100_000
STEPS = "1,5,25,100"


@click.group()
def router() -> None:
    """How the gateway deals units to arms; docs/routing.md has the formula."""


@router.command()
@click.option(
    "--units",
    type=click.IntRange(1, 10_000_000),
    default=UNITS,
    show_default=True,
    help="How many made-up units the target has.",
)
@click.option("--ids", type=FILE, help="Take units from FILE instead: one per line, TAB tenant.")
@click.option("--steps", default=STEPS, show_default=True, help="Shares in percent, climbing.")
@click.option("--salt-file", type=FILE, help="64 hexadecimal digits [a salt of its own].")
@click.option("--release", default="sim", show_default=True, help="The release's name.")
@output_option
def sim(
    units: int, ids: Path | None, steps: str, salt_file: Path | None, release: str, form: Form
) -> None:
    """Deal units at each step: how many the candidate gets, the exact interval, who moved back."""
    import secrets

    from clients.dealing import deal, generated, read_salt, read_units, shares_of, sim_text
    from rampway.gateway.assignment import SALT_BYTES

    salt = read_salt(salt_file) if salt_file else secrets.token_bytes(SALT_BYTES)
    dealt = deal(
        read_units(ids) if ids else generated(units),
        salt=salt,
        release=release,
        shares_bp=shares_of(steps),
    )
    if form is Form.JSON:
        show_json({"release": release, "steps": [one.facts for one in dealt]})
    else:
        show(sim_text(dealt))
    if any(one.moved_back for one in dealt):
        leave(Exit.ERROR)


@router.command()
@click.argument("units", nargs=-1, required=True)
@click.option("--salt-file", type=FILE, required=True, help="64 hexadecimal digits.")
@click.option("--release", required=True, help="The release's name.")
@click.option("--share", required=True, help="In percent.")
@output_option
def assign(units: tuple[str, ...], salt_file: Path, release: str, share: str, form: Form) -> None:
    """Points, arms and pseudonyms of UNITS: test vectors for another implementation."""
    from clients.dealing import read_salt, share_of, told_units
    from rampway.gateway.assignment import Split

    share_bp = share_of(share)
    split = Split(salt=read_salt(salt_file), release=release, share_bp=share_bp, shadow_bp=0)
    told = told_units(split, units, share_bp)
    if form is Form.JSON:
        show_json({"release": release, "units": told})
        return
    width = max(4, *(len(unit) for unit in units))
    lines = [f"{'unit':{width}}  {'point':>5}  {'arm':9}  {'shadow':>6}  {'judge':>20}  pseudonym"]
    lines += [
        f"{one['unit']:{width}}  {one['point']:>5}  {one['arm']:9}  {one['shadow_point']:>6}  "
        f"{one['judge_point']:>20}  {one['pseudonym']}"
        for one in told
    ]
    show("\n".join(lines))
