"""What is stored survives a crash at any byte, and what is torn is never guessed from."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_builders import at, canary, registered, shadowing

from rampway.gateway.durable import DurableLines, replace_file
from rampway.gateway.state import StateFile, Stored, Unreadable, boot_id, decode, encode
from rampway.gateway.truth import Truth, deed

STORED = Stored(boot_id="this boot", targets={"tutor": canary(500)})
CONTENT = encode(STORED)


def test_what_is_stored_is_what_is_loaded() -> None:
    assert decode(CONTENT) == STORED


def test_a_state_truncated_at_any_byte_is_refused_as_a_whole() -> None:
    for cut in range(len(CONTENT)):
        with pytest.raises(Unreadable):
            decode(CONTENT[:cut])


@given(position=st.integers(0, len(CONTENT) - 1), flip=st.integers(1, 255))
def test_a_state_with_one_altered_byte_is_refused_as_a_whole(position: int, flip: int) -> None:
    altered = bytearray(CONTENT)
    altered[position] ^= flip

    with pytest.raises(Unreadable):
        decode(bytes(altered))


def test_a_crash_before_the_rename_leaves_the_state_before(tmp_path: Path) -> None:
    file = StateFile(tmp_path, boot_id="this boot")
    file.save({"tutor": canary(500)})
    for cut in (0, 1, len(CONTENT) // 2):
        (tmp_path / "state.json.new").write_bytes(CONTENT[:cut])

        assert file.load() == STORED


def test_the_state_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    StateFile(tmp_path, boot_id="b").save({"tutor": shadowing()})

    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_nothing_stored_is_no_error_and_no_target(tmp_path: Path) -> None:
    assert StateFile(tmp_path, boot_id="b").load() is None


def test_the_salt_is_not_shown_where_a_split_is_printed() -> None:
    assert "5a5a" not in repr(canary())


def test_the_boot_id_is_the_same_within_a_boot() -> None:
    assert boot_id() == boot_id()


def test_a_file_is_replaced_as_a_whole_and_without_a_trace(tmp_path: Path) -> None:
    replace_file(tmp_path / "x", b"old")
    replace_file(tmp_path / "x", b"new")

    assert (tmp_path / "x").read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("torn", [b"", b"to", b"torn" * 20_000])
def test_a_torn_last_line_is_cut_off_before_more_is_appended(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n" + torn)

    with DurableLines(path) as lines:
        lines.append(b"three\n")

    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_lines_that_the_disk_refuses_leave_nothing_behind() -> None:
    with DurableLines(Path("/dev/full")) as lines, pytest.raises(OSError, match=r"\[Errno"):
        lines.append(b"x\n")


def test_the_ground_truth_remembers_every_targets_highest_epoch(tmp_path: Path) -> None:
    truth = Truth(tmp_path)
    other = registered().model_copy(update={"target": "other"})
    truth.append(
        [
            deed("claim", "op", registered(), canary(), at()),
            deed("register", "op", None, other, at()),
            deed("register", "op", None, registered(), at()),
        ]
    )

    assert truth.epochs() == {"tutor": 1, "other": 0}
    truth.close()


def test_a_deed_tells_what_moved_from_where_by_whom() -> None:
    told = deed("share", "r1/share/3", shadowing(), canary(500), at(7))

    assert told == {
        "monotonic": 1_007.0,
        "wall": 1_700_000_007.0,
        "target": "tutor",
        "release": "r1",
        "cause": "share",
        "op_id": "r1/share/3",
        "epoch": 1,
        "sequence": 3,
        "segment": 3,
        "share_before_bp": 0,
        "share_after_bp": 500,
        "shadow_before_bp": 3_000,
        "shadow_after_bp": 0,
        "baseline": "sha256:" + "a" * 64,
        "lease_until": 1_060.0,
        "pinned_by": None,
    }
