"""The command answers at once: what is heavy is loaded only by the verb that needs it."""

import json
import subprocess
import sys
from pathlib import Path

from cli_builders import Cli

import clients
from clients.main import COMMANDS

ROOT = Path(clients.__file__).parent.parent
HEAVY = ("temporalio", "numpy", "scipy", "sqlalchemy", "httpx", "rich", "jinja2", "aiohttp")
LISTING = """
import json, sys
from click.testing import CliRunner
from clients.main import rampway
loaded = {}
for verb in sys.argv[1:]:
    result = CliRunner().invoke(rampway, [*verb.split(), "--help"])
    assert result.exit_code == 0, (verb, result.output)
    loaded[verb] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(loaded))
"""
OURS = [verb for verb, (module, _) in COMMANDS.items() if module != "clients.commands.local"]


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=ROOT, capture_output=True, text=True, check=True
    )


def test_help_of_no_verb_loads_temporal_numpy_or_a_database() -> None:
    verbs = [*OURS, "artifact digest", "target add", "gateway end"]

    loaded = json.loads(python("-c", LISTING, *verbs).stdout)

    heavy = {verb: set(HEAVY) & set(names) for verb, names in loaded.items()}
    assert len(heavy) == len(verbs)
    assert not any(heavy.values()), heavy


def test_help_names_every_verb(cli: Cli) -> None:
    told = cli("--help").stdout

    assert [verb for verb in COMMANDS if f"\n  {verb} " not in told] == []
