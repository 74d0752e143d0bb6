"""`rampway router`: what the gateway's formula would do to a target's units."""

from pathlib import Path

import pytest
from cli_builders import Cli

from clients.exits import Exit

SALT = bytes(range(32)).hex()


@pytest.fixture
def salt_file(tmp_path: Path) -> Path:
    path = tmp_path / "salt.hex"
    path.write_text(f"{SALT}\n")
    return path


def test_every_step_is_inside_its_interval_and_nobody_moves_back(cli: Cli, salt_file: Path) -> None:
    told = cli.json("router", "sim", "--units", "20000", "--salt-file", str(salt_file))["steps"]

    assert [one["share_bp"] for one in told] == [100, 500, 2_500, 10_000]
    assert all(one["low"] <= one["candidate"] <= one["high"] and one["inside"] for one in told)
    assert [one["moved_back"] for one in told] == [0, 0, 0, 0]
    assert (told[-1]["candidate"], told[-1]["low"], told[-1]["high"]) == (20_000,) * 3


def test_units_of_a_file_are_counted_once_and_per_tenant(
    cli: Cli, salt_file: Path, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.tsv"
    ids.write_text("".join(f"u{n}\t{'acme' if n % 4 else 'beta'}\n" for n in range(1_000)) * 2)

    told = cli.json(
        *("router", "sim", "--ids", str(ids), "--steps", "0.01,50", "--salt-file", str(salt_file))
    )["steps"]

    halves = {one["tenant"]: one for one in told if one["share_bp"] == 5_000}
    assert {name: one["units"] for name, one in halves.items()} == {
        "all": 1_000,
        "acme": 750,
        "beta": 250,
    }
    assert halves["all"]["candidate"] == halves["acme"]["candidate"] + halves["beta"]["candidate"]
    assert all(one["inside"] for one in told)


def test_the_table_answers_in_its_first_line(cli: Cli) -> None:
    result = cli("router", "sim", "--units", "1000", "--steps", "100")

    assert result.exit_code == Exit.OK
    assert result.stdout.splitlines()[0] == (
        "1,000 units over 1 step: every step inside its interval, nobody moved back."
    )


def test_assign_tells_the_documented_vector(cli: Cli, salt_file: Path) -> None:
    told = cli.json(
        *("router", "assign", "--salt-file", str(salt_file), "--release", "r1"),
        *("--share", "18.51", "u-1"),
    )

    assert told["units"] == [
        {
            "unit": "u-1",
            "point": 1850,
            "share_bp": 1851,
            "arm": "candidate",
            "shadow_point": 1507,
            "judge_point": 1499463814907959171,
            "pseudonym": "9a3c5d3a3d158d4f",
        }
    ]
    table = cli(
        *("router", "assign", "--salt-file", str(salt_file), "--release", "r1"),
        *("--share", "18.5", "u-1"),
    )
    assert table.stdout.splitlines()[1].split()[:3] == ["u-1", "1850", "baseline"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--steps", "5,1"), "Steps must climb"),
        (("--steps", "0.005"), "is no share"),
        (("--steps", "many"), "is no share"),
        (("--steps", "101"), "is no share"),
        (("--salt-file", __file__), "64 hexadecimal digits"),
    ],
)
def test_what_the_gateway_would_not_split_by_is_a_usage_error(
    cli: Cli, args: tuple[str, ...], told: str
) -> None:
    result = cli("router", "sim", "--units", "10", *args)

    assert result.exit_code == Exit.USAGE
    assert told in result.stderr


def test_a_file_without_units_is_a_usage_error(cli: Cli, tmp_path: Path) -> None:
    empty = tmp_path / "ids"
    empty.write_text("\n\n")

    assert "names no unit" in cli("router", "sim", "--ids", str(empty)).stderr
