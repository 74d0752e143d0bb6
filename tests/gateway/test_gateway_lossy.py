"""Logs never hold up a request: bounded, whole lines, drops counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rampway.gateway.lossy import LossyFile, LossyWriter


def lossy(path: Path, *, lines_max: int = 100, file_bytes_max: int = 10_000) -> LossyFile[str]:
    return LossyFile[str](
        path,
        encode=str.encode,
        lines_max=lines_max,
        pending_bytes_max=1_000,
        file_bytes_max=file_bytes_max,
    )


@pytest.fixture
def writer() -> Iterator[LossyWriter]:
    writer = LossyWriter()
    writer.start()
    yield writer
    writer.close()


def test_lines_are_written_by_the_thread_in_order(tmp_path: Path, writer: LossyWriter) -> None:
    file = writer.add(lossy(tmp_path / "log"))
    for n in range(50):
        assert file.put(f"line {n}", 6)

    writer.close()

    assert (tmp_path / "log").read_text().splitlines() == [f"line {n}" for n in range(50)]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_full_queue_drops_the_newest_line_and_counts_it(tmp_path: Path) -> None:
    by_lines, by_bytes = lossy(tmp_path / "a", lines_max=2), lossy(tmp_path / "b")

    assert [by_lines.put("x", 1) for _ in range(3)] == [True, True, False]
    assert [by_bytes.put("x", 600) for _ in range(2)] == [True, False]
    assert (by_lines.dropped_full_total, by_bytes.dropped_full_total) == (1, 1)
    by_bytes.write()
    assert by_bytes.put("x", 600)


def test_a_full_disk_drops_lines_and_counts_them() -> None:
    file = lossy(Path("/dev/full"))
    for _ in range(3):
        file.put("x", 1)

    file.write()

    assert (file.dropped_disk_total, file.written_total) == (3, 0)
    assert file.put("y", 1)


def test_a_file_that_is_full_is_renamed_and_begun_anew(tmp_path: Path) -> None:
    file = lossy(tmp_path / "log", file_bytes_max=20)
    for n in range(4):
        file.put(f"line number {n}", 1)
        file.write()

    assert (tmp_path / "log").read_text() == "line number 3\n"
    assert (tmp_path / "log.1").read_text() == "line number 2\n"


def test_a_torn_line_of_a_crash_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"whole\nto")
    file = lossy(tmp_path / "log")
    file.put("next", 4)

    file.write()

    assert (tmp_path / "log").read_text() == "whole\nnext\n"
