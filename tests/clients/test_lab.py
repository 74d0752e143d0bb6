"""The lab, whole: real gateway, real tutors, 400 lines, a report; it ends what it started."""

import json
import os
from collections import Counter
from pathlib import Path

from cli_builders import Cli

from clients.exits import Exit
from rampway.gates.facts import digest_of_bytes


def running_from(directory: Path) -> list[str]:
    """Command lines of living processes that name the directory, or were started with it."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue  # it ended meanwhile, or is another user's
            if str(directory).encode() in told and b"lab" in told:
                found.append(told[:200].decode(errors="replace"))
    return found


def test_one_command_plays_400_lines_and_reports_on_them(cli: Cli) -> None:
    result = cli("lab")

    lab = cli.home / "lab"
    lines = [json.loads(line) for line in (lab / "traffic.log").read_text().splitlines()]
    manifest = json.loads((lab / "manifest.json").read_bytes())
    assert result.exit_code == Exit.OK, result.output
    assert Counter(line["kind"] for line in lines) == {"pair": 200, "live": 200}
    assert {line["arm"] for line in lines if line["kind"] == "live"} == {"baseline", "candidate"}
    assert "40 answers to 20 replayed request ids" in result.stderr
    assert "each from the arm of the first time" in result.stderr
    assert "Log: 400 lines = 200 live answers + 200 copied requests + 0 unusable." in result.stdout
    assert manifest["reports"]["html"] == digest_of_bytes((lab / "report.html").read_bytes())
    assert manifest["traffic"]["share_bp"] == 5_000
    assert running_from(cli.home) == []

    again = cli(
        *("compare", str(lab / "traffic.log"), "--grader", str(lab / "gold.jsonl")),
        *("--by", "tense,person,verb", "--cost", "baseline=0.0004", "--cost", "candidate=0.0009"),
        *("--seed", "questions=1", "-o", "r.html", "-o", "r.md"),
    )

    assert again.exit_code == Exit.OK, again.output
    assert Path("manifest.json").read_bytes() == (lab / "manifest.json").read_bytes()


def test_the_lab_leaves_a_directory_alone_that_is_not_its_own(cli: Cli) -> None:
    (cli.home / "lab").mkdir(parents=True)
    (cli.home / "lab" / "thesis.txt").write_text("years of work")

    result = cli("lab")

    assert result.exit_code == Exit.ERROR
    assert "is not a lab's directory" in result.stderr
    assert (cli.home / "lab" / "thesis.txt").exists()
