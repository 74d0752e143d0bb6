"""What keeps Rampway running: targets at gateway and record alike, doctor, and the split ended by hand."""

import asyncio
import json
import os
from collections.abc import Iterator

import pytest
from cli_builders import BASELINE, Cli
from click.testing import CliRunner, Result

from clients.commands.operate import doctor_text
from clients.exits import Exit
from clients.findings import Check, State, bounded
from clients.main import rampway
from clients.opening import open_data_plane
from rampway.adapters.registry_sql import SqlRegistry
from rampway.ports import Unreachable
from rampway.release.splits import Ending, Observed, Serve, Served, Token
from support.gateway_process import GatewayProcess, gateway_process
from support.record_builders import Teller, header_of, promoted

NAME = "grammar-tutor"
CANDIDATE = Served(artifact="sha256:" + "b" * 64, serve=Serve(upstream="provider"))
TARGET_YAML = "kind: demo\nteam: tutor\nslice_seconds: 1\nfast_seconds: 1\ntimeout_seconds: 2\n"


@pytest.fixture(scope="module")
def process() -> Iterator[GatewayProcess]:
    with gateway_process({"provider": "http://127.0.0.1:9"}) as started:
        yield started


@pytest.fixture
def gateway(cli: Cli, process: GatewayProcess) -> Cli:
    """The command with a gateway to talk to."""
    os.environ["RAMPWAY_GATEWAY_URL"] = process.admin_url
    return cli


def artifact_file(cli: Cli) -> str:
    return str(
        cli.write(
            "baseline.json", json.dumps(BASELINE.content | {"prompt": {"text": BASELINE.prompt}})
        )
    )


def add(cli: Cli, name: str, *more: str) -> Result:
    return cli(
        "target", "add", name, "--artifact", artifact_file(cli), "--upstream", "provider", *more
    )


def claimed(name: str, baseline: Served, *, share_bp: int = 500, promoted: bool = False) -> Token:
    """Let a release hold the target with some of its traffic."""

    async def work() -> Token:
        async with open_data_plane() as plane:
            token = await plane.traffic.claim(
                target=name,
                release="41c0de",
                baseline=baseline,
                candidate=CANDIDATE,
                ttl_seconds=60,
                op_id="claim",
            )
            raised = token.model_copy(update={"sequence": 5})
            await plane.traffic.set_share(raised, share_bp=share_bp, ttl_seconds=60, op_id="5 %")
            if promoted:
                last = token.model_copy(update={"sequence": 6})
                await plane.traffic.end(last, ending=Ending.PROMOTED, op_id="promote")
            return token

    return asyncio.run(work())


def observed(name: str) -> Observed:
    async def work() -> Observed:
        async with open_data_plane() as plane:
            return await plane.traffic.observe(name)

    return asyncio.run(work())


def test_a_target_is_registered_with_gateway_and_record_alike(gateway: Cli) -> None:
    config = str(gateway.write("target.yaml", TARGET_YAML))

    added = add(gateway, "alike", "--config", config, "--field", "model=provider-v4")
    again = add(gateway, "alike", "--config", config, "--field", "model=provider-v4")
    told = gateway.json("target", "show", "alike")

    assert (added.exit_code, again.exit_code) == (Exit.OK, Exit.OK)
    assert added.stdout.startswith("alike registered: demo target, baseline sha256:")
    assert told["baseline"]["artifact"] == BASELINE.digest == told["observed"]["baseline"]
    assert told["baseline"]["serve"]["fields"] == {"model": "provider-v4"}
    assert told["target"]["slice_seconds"] == 1
    assert "alike" in gateway("target", "list").stdout
    assert [one["target"]["name"] for one in gateway.json("target", "list")["targets"]] == ["alike"]


def test_adding_a_target_again_never_moves_its_baseline(gateway: Cli) -> None:
    add(gateway, "moved")
    other = gateway.write("other.json", json.dumps({"model": "provider-v9"}))

    result = gateway("target", "add", "moved", "--artifact", str(other), "--upstream", "provider")

    assert result.exit_code == Exit.ERROR
    assert result.stderr.startswith("refused [baseline moved]: moved serves ")
    assert observed("moved").baseline == BASELINE.digest


def test_an_upstream_that_the_gateway_does_not_have_registers_nothing(gateway: Cli) -> None:
    result = gateway(
        "target", "add", "nowhere", "--artifact", artifact_file(gateway), "--upstream", "missing"
    )

    assert result.exit_code == Exit.ERROR
    assert "missing" in result.stderr
    assert gateway("target", "show", "nowhere").exit_code == Exit.ERROR


def test_a_dry_run_of_add_writes_to_neither(gateway: Cli) -> None:
    add(gateway, "first")

    result = add(gateway, "rehearsed", "--dry-run")

    assert result.stdout.startswith("rehearsed would be registered; nothing was written:")
    assert gateway("target", "show", "rehearsed").exit_code == Exit.ERROR


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--slice", "-1"), "slice_seconds"),
        (("--field", "model"), "is not NAME=VALUE"),
    ],
    ids=["slice", "field"],
)
def test_a_target_that_cannot_be_is_a_usage_error(
    gateway: Cli, more: tuple[str, ...], said: str
) -> None:
    result = add(gateway, "wrong", *more)

    assert result.exit_code == Exit.USAGE
    assert said in result.stderr


def test_a_baseline_needs_an_upstream(gateway: Cli) -> None:
    result = gateway("target", "add", "wrong", "--artifact", artifact_file(gateway))

    assert result.exit_code == Exit.USAGE
    assert "--upstream" in result.stderr


def test_a_release_yaml_says_itself_how_its_artifact_is_served(cli: Cli) -> None:
    told = cli.json("target", "add", "a", "--artifact", str(cli.write_spec()), "--dry-run")

    assert told["baseline"]["serve"] == {
        "upstream": "provider",
        "fields": {"model": "provider-v5"},
        "headers": {},
    }


def test_a_split_is_ended_by_hand_without_temporal_and_twice_is_once(gateway: Cli) -> None:
    add(gateway, "by-hand")
    claimed("by-hand", Served(artifact=BASELINE.digest, serve=Serve(upstream="provider")))

    dry = gateway("gateway", "end", "by-hand", "--reason", "incident", "--dry-run")
    ended = gateway("gateway", "end", "by-hand", "--reason", "incident")
    seen = observed("by-hand")
    again = gateway("gateway", "end", "by-hand", "--reason", "incident")

    assert dry.stdout == "would send 5 % of by-hand back; nothing was sent.\n"
    assert ended.exit_code == Exit.OK
    assert ended.stdout.startswith("ended: 0 % confirmed by 1 of 1 gateway in ")
    assert seen.share_bp == 0
    assert seen.pinned_by is not None
    assert seen.pinned_by.why == "ended by hand by sre-oncall: incident"
    assert again.stdout.startswith("already all on the baseline of by-hand")


def test_a_promotion_is_not_undone_by_accident(gateway: Cli) -> None:
    add(gateway, "promoted")
    baseline = Served(artifact=BASELINE.digest, serve=Serve(upstream="provider"))
    claimed("promoted", baseline, promoted=True)

    refused = gateway("gateway", "end", "promoted", "--reason", "incident")
    meant = gateway("gateway", "end", "promoted", "--reason", "incident", "--undo-promotion")

    assert refused.exit_code == Exit.ERROR
    assert refused.stderr.startswith("refused [promoted]: ")
    assert meant.exit_code == Exit.OK
    assert observed("promoted").baseline == BASELINE.digest


def test_ending_where_no_gateway_answers_is_an_error_that_says_so(cli: Cli) -> None:
    result = cli("gateway", "end", NAME, "--reason", "incident")

    assert result.exit_code == Exit.ERROR
    assert "does not answer" in result.stderr


def test_doctor_finds_gateway_clock_and_targets_and_names_what_is_missing(gateway: Cli) -> None:
    add(gateway, "checked")

    result = gateway("doctor", "--target", "checked", "--output", "json")

    told = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == Exit.ERROR
    assert [
        told[name]["state"] for name in ("gateway", "gateway clock", "targets", "registry")
    ] == ["ok"] * 4
    assert told["Temporal"]["state"] == "fail"
    assert told["Temporal"]["remedy"]
    assert told["worker"]["state"] == "unasked"
    assert told["judge"]["state"] == "fail"


def test_doctor_says_that_gateway_and_record_disagree(gateway: Cli) -> None:
    add(gateway, "disagrees")

    async def elsewhere(registry: SqlRegistry) -> None:
        await registry.point("disagrees", CANDIDATE, release="r1")

    gateway.in_registry(elsewhere)
    told = gateway.json("doctor", "--target", "disagrees")

    found = next(check for check in told["checks"] if check["name"] == "targets")
    assert found["state"] == "fail"
    assert "disagrees serves sha256:" in found["detail"]


def test_doctor_tells_what_is_wrong_first_and_each_remedy_once() -> None:
    checks = [
        Check("registry", State.ABSENT, "it does not exist yet", "rampway dev"),
        Check("worker", State.UNASKED, "not asked: Temporal does not answer"),
        Check("Python", State.OK, "3.11"),
    ]

    told = doctor_text(checks).splitlines()

    assert told == [
        "Of 3 checks 1 not set up, 1 not asked; no release can start.",
        "none  registry  it does not exist yet",
        "      remedy: rampway dev",
        "-     worker    not asked: Temporal does not answer",
        "ok    Python",
    ]


def test_doctor_works_where_nothing_runs_and_nothing_is_set_up(cli: Cli) -> None:
    del os.environ["RAMPWAY_GATEWAY_URL"], os.environ["RAMPWAY_JUDGE_URL"]

    result = cli("doctor")

    assert result.exit_code == Exit.ERROR
    assert "not set up" in result.stdout.splitlines()[0]
    assert "none  registry" in result.stdout
    assert "rampway dev" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_the_installation_is_sound_here(cli: Cli) -> None:
    result = cli("doctor", "--installation")

    assert result.exit_code == Exit.OK, result.stdout
    assert result.stdout.startswith("All 5 checks pass.")


async def test_a_check_never_raises_and_never_outlasts_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lost() -> Check:
        raise Unreachable("Registry is read-only (disk full). Next: free space")

    async def slow() -> Check:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr("clients.findings.SECONDS", 0.01)

    failed, late = await bounded("registry", lost()), await bounded("judge", slow())

    assert failed == Check(
        "registry", State.FAIL, "Registry is read-only (disk full).", "free space"
    )
    assert late.state is State.FAIL
    assert late.detail.startswith("no answer in ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(cli: Cli, shell: str) -> None:
    told = cli("completion", shell).stdout

    assert "_RAMPWAY_COMPLETE" in told


def test_a_tab_offers_open_releases_first_and_nothing_where_nothing_is_recorded(cli: Cli) -> None:
    def offered(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": "2", "_RAMPWAY_COMPLETE": "bash_complete"}
        told = CliRunner().invoke(rampway, [], env=asked, prog_name="rampway")
        return [line.partition(",")[2] for line in told.stdout.splitlines() if line]

    before = offered("rampway status ")
    ended, still_open = promoted(), Teller(header_of(owner="another")).start().kept()
    cli.keep(still_open, ended)

    assert before == []
    assert offered("rampway status ") == [
        still_open.record.header.name,
        ended.record.header.name,
    ]
    assert offered("rampway status grammar-tutor-zz") == []


def test_each_exit_code_has_a_meaning_and_scripts_may_rely_on_its_number(cli: Cli) -> None:
    told = cli.json("exit-codes")

    assert (
        sorted(map(int, told)) == sorted(int(code) for code in Exit) == [0, 1, 2, 3, 4, 5, 8, 130]
    )
    assert len(cli("exit-codes").stdout.splitlines()) == len(Exit)


def test_an_unknown_verb_is_a_usage_error(cli: Cli) -> None:
    assert cli("rollout").exit_code == Exit.USAGE
