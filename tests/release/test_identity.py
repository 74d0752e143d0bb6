"""The same request twice is one release."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.release.identity import release_id, release_name, workflow_id

ARTIFACT, SPEC = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_the_id_is_fixed_for_ever() -> None:
    identity = release_id("grammar-tutor", ARTIFACT, SPEC, 1)

    assert identity == "eb1f68d73e02f93b88ac50d724a234f2b3af4471700c866b9c09d4d0464edce0"
    assert release_name("grammar-tutor", identity) == "grammar-tutor-eb1f68"
    assert workflow_id("grammar-tutor", identity) == f"release/grammar-tutor/{identity}"


parts = st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.integers(1, 99))


@given(parts, parts)
def test_two_requests_are_one_release_only_if_all_parts_agree(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    assert (release_id(*one) == release_id(*other)) is (one == other)


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        release_id("grammar-tutor", ARTIFACT, SPEC, 0)
