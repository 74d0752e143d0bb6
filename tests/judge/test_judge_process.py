"""The judge as a process: it says where it listens, answers, and ends when it is told to."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rampway.judge.serving import Sight, judge_sight
from rampway.judge.settings import SettingsUnusable, read_settings, settings_from_environment

DEADLINE_SECONDS = 20.0
SETTINGS = """
spool_dir = "spool"
state_dir = "state"

[targets.tutor]
gold = "gold.jsonl"
judge_seconds = 0.2
"""
PAIR = {
    "kind": "pair",
    "target": "tutor",
    "epoch": 1,
    "segment": 4,
    "i": 0,
    "request": {"case_id": "went"},
    "baseline": {"status": 200, "body": "goed"},
    "candidate": {"status": 200, "body": {"answer": "went"}},
    "missing": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return furnished(tmp_path)


@pytest.fixture
def process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with start(folder) as process:
        yield process
        process.kill()


@pytest.fixture
def client(folder: Path, process: subprocess.Popen[bytes]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=announced_url(folder, process)) as client:
        yield client


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a judge that has nothing to judge; its tests only read."""
    folder = furnished(tmp_path_factory.mktemp("idle"))
    with start(folder) as process:
        with httpx.Client(base_url=announced_url(folder, process)) as client:
            yield client
        process.kill()


def furnished(folder: Path) -> Path:
    (folder / "judge.toml").write_text(SETTINGS)
    (folder / "gold.jsonl").write_text('{"case_id": "went", "accepted": ["went"]}\n')
    (folder / "spool").mkdir()
    return folder


def announced_url(folder: Path, process: subprocess.Popen[bytes]) -> str:
    announcement = folder / "state" / "judge.json"
    until(lambda: announcement.exists() or process.poll() is not None)
    return str(json.loads(announcement.read_text())["url"])


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "rampway.judge"], env=environment(folder))


def run_to_its_end(folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "rampway.judge"],
        env=environment(folder),
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"RAMPWAY_JUDGE_CONFIG": str(folder / "judge.toml")}


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def counts(client: httpx.Client, **query: object) -> Any:  # noqa: ANN401 - a JSON document
    asked = {"target": "tutor", "epoch": "1", "segment": "4"} | query
    return client.get("/v1/counts", params=asked).raise_for_status().json()


def write_slice(folder: Path, i: int, *, pairs: int, copied: int) -> None:
    mark = PAIR | {
        "kind": "mark",
        "i": i,
        "slice_seconds": 1.0,
        "ended_at": time.time(),
        "copied": copied,
        "missing": {"drop": copied - pairs},
    }
    with (folder / "spool" / "spool-tutor.jsonl").open("a") as spool:
        spool.writelines(json.dumps(line) + "\n" for line in [*[PAIR | {"i": i}] * pairs, mark])


def test_sealed_slices_are_told_with_the_grader_that_scored_them(
    folder: Path, client: httpx.Client
) -> None:
    write_slice(folder, 0, pairs=3, copied=4)

    until(lambda: counts(client)["sealed"] == 1)

    answer = counts(client)
    assert answer.pop("grader").startswith("set_match/1/sha256:")
    assert answer == {
        "target": "tutor",
        "epoch": 1,
        "segment": 4,
        "slice_seconds": 1.0,
        "levels": 2,
        "sealed": 1,
        "rows": [{"i": 0, "pairs": [[0, 1, 3]], "lost": 1}],
    }


def test_a_segment_nobody_heard_of_has_nothing_sealed(idle: httpx.Client) -> None:
    answer = counts(idle, segment=99)

    assert (answer["sealed"], answer["rows"], answer["slice_seconds"]) == (0, [], None)


@pytest.mark.parametrize(
    ("query", "http_status", "complaint"),
    [
        ({"target": "nobody"}, 404, "This judge has no target 'nobody'. It judges: tutor."),
        ({"epoch": "first"}, 400, "epoch: Input should be a valid integer"),
        ({"segment": "-1"}, 400, "segment: Input should be greater than or equal to 0"),
        ({"epoch": str(2**70)}, 400, "epoch: "),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(
    idle: httpx.Client, query: dict[str, str], http_status: int, complaint: str
) -> None:
    asked = {"target": "tutor", "epoch": "1", "segment": "4"} | query

    answer = idle.get("/v1/counts", params=asked)

    assert answer.status_code == http_status
    assert answer.json()["error"].startswith(complaint)


def test_it_is_ready_once_it_has_read_the_spool_and_tells_prometheus(
    folder: Path, client: httpx.Client
) -> None:
    write_slice(folder, 0, pairs=3, copied=3)

    until(lambda: counts(client)["sealed"] == 1)

    assert client.get("/healthz").json() == {"alive": True}
    assert client.get("/readyz").json() == {"ready": True, "targets": {"tutor": "caught up"}}
    metrics = client.get("/metrics").text
    assert 'rampway_judge_findings_total{finding="scored",target="tutor"} 3.0' in metrics


@pytest.mark.skipif(
    not shutil.which("promtool") and not os.environ.get("RAMPWAY_REQUIRE_PROMETHEUS"),
    reason="promtool is not installed",
)
def test_its_metrics_tell_scores_by_arm_and_how_far_it_is_behind_by_prometheus_conventions(
    folder: Path, client: httpx.Client
) -> None:
    write_slice(folder, 0, pairs=3, copied=3)
    until(lambda: counts(client)["sealed"] == 1)

    page = client.get("/metrics").text

    for told in (
        'rampway_judge_answers_scored_total{arm="baseline",sample="pair",target="tutor"} 3.0',
        'rampway_judge_score_points_total{arm="baseline",sample="pair",target="tutor"} 0.0',
        'rampway_judge_score_points_total{arm="candidate",sample="pair",target="tutor"} 3.0',
        'rampway_judge_score_levels{target="tutor"} 2.0',
        'rampway_judge_looks_total{outcome="failed",target="tutor"} 0.0',
        'rampway_judge_backlog_bytes{target="tutor"} 0.0',
        'rampway_judge_behind_seconds{target="tutor"} 0.',
        "process_cpu_seconds_total",
    ):
        assert told in page
    checked = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - wherever it is installed
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_it_tells_how_a_shadow_does_and_of_whom_it_knows_nothing(idle: httpx.Client) -> None:
    told = idle.get("/v1/shadow", params={"target": "tutor"}).json()
    nobody = idle.get("/v1/shadow", params={"target": "nobody"})

    assert (told["target"], told["pairs"], told["score_difference"]) == ("tutor", 0, None)
    assert nobody.status_code == httpx.codes.NOT_FOUND
    assert "It judges: tutor." in nobody.json()["error"]


def test_counts_survive_a_kill_and_a_restart(
    folder: Path, client: httpx.Client, process: subprocess.Popen[bytes]
) -> None:
    write_slice(folder, 0, pairs=3, copied=3)
    until(lambda: counts(client)["sealed"] == 1)
    before = counts(client)
    process.kill()
    process.wait()

    (folder / "state" / "judge.json").unlink()
    second = start(folder)
    try:
        until((folder / "state" / "judge.json").exists)
        url = json.loads((folder / "state" / "judge.json").read_text())["url"]
        with httpx.Client(base_url=url) as again:
            until(lambda: again.get("/readyz").status_code == httpx.codes.OK)
            after = counts(again)
    finally:
        second.kill()
        second.wait()

    assert after == before


def test_sigterm_ends_it_cleanly_and_takes_its_announcement_back(
    folder: Path, client: httpx.Client, process: subprocess.Popen[bytes]
) -> None:
    assert client.get("/healthz").is_success

    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE_SECONDS) == 0
    assert not (folder / "state" / "judge.json").exists()


def test_a_port_that_is_taken_is_told_in_one_line(folder: Path, client: httpx.Client) -> None:
    (folder / "second").mkdir()
    port = client.base_url.port
    text = SETTINGS.replace('state_dir = "state"', f'state_dir = "second"\nport = {port}')
    (folder / "judge.toml").write_text(text)

    ended = run_to_its_end(folder)

    assert ended.returncode == 1
    assert "address already in use" in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


def test_counts_that_are_no_database_are_told_in_one_line(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "counts.sqlite3").write_bytes(b"not a database at all" * 100)

    ended = run_to_its_end(folder)

    assert ended.returncode == 1
    assert ended.stderr.decode() == "The judge cannot run: file is not a database\n"


class FullDisk:
    """A judge whose looks fail as they do when the disk is full."""

    docket = type("Docket", (), {"target": "tutor"})

    def look(self) -> bool:
        raise OSError(28, "No space left on device")


def test_a_look_that_fails_is_seen_as_failed() -> None:
    assert judge_sight(FullDisk())() is Sight.FAILED  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (("judge_seconds = 0.2", "judge_second = 0.2"), "targets.tutor.judge_seconds: Field"),
        (("judge_seconds = 0.2", "judge_seconds = -1"), "targets.tutor.judge_seconds: Input"),
        (("[targets.tutor]", "[targets.'../tutor']"), "targets"),
        (("[targets.tutor]", "[targets"), "is not TOML"),
        (("spool_dir", "spool_folder"), "spool_dir: Field required"),
    ],
)
def test_settings_that_are_wrong_say_where(
    folder: Path, changed: tuple[str, str], complaint: str
) -> None:
    path = folder / "judge.toml"
    path.write_text(SETTINGS.replace(*changed))

    with pytest.raises(SettingsUnusable) as refusal:
        read_settings(path)

    assert str(path) in str(refusal.value)
    assert complaint in str(refusal.value)


def test_without_settings_the_variable_is_named() -> None:
    with pytest.raises(SettingsUnusable, match="RAMPWAY_JUDGE_CONFIG is not set"):
        settings_from_environment({})


@pytest.mark.parametrize(
    ("grader", "gold", "complaint"),
    [("vibes", "gold.jsonl", "no grader 'vibes'"), ("set_match", "x.jsonl", "cannot be read")],
)
def test_a_judge_without_a_usable_grader_does_not_start(
    folder: Path, grader: str, gold: str, complaint: str
) -> None:
    text = SETTINGS.replace('gold = "gold.jsonl"', f'gold = "{gold}"\ngrader = "{grader}"')
    (folder / "judge.toml").write_text(text)

    ended = run_to_its_end(folder)

    assert ended.returncode == 2
    assert complaint in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


def test_a_judge_of_a_new_stack_has_no_target_and_is_ready(folder: Path) -> None:
    (folder / "judge.toml").write_text(SETTINGS.partition("[targets")[0])

    with start(folder) as process:
        with httpx.Client(base_url=announced_url(folder, process)) as client:
            answer = client.get("/readyz")
        process.kill()

    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "targets": {}}
