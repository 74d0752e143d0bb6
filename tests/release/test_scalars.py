"""The scalars of release.yaml: what they mean, and that they print back to what they mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rampway.release import scalars
from rampway.release.json_values import FreeMap, Plain
from rampway.release.scalars import (
    Deadline,
    DeadlineAt,
    Deviations,
    Duration,
    FilePath,
    Instant,
    Money,
    Number,
    Percent,
    Points,
    SharePercent,
    Whole,
)

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
NUMBERS: dict[str, TypeAdapter[Any]] = {
    "duration": DURATION,
    "percent": TypeAdapter(Percent),
    "points": TypeAdapter(Points),
    "deviations": TypeAdapter(Deviations),
    "number": TypeAdapter(Number),
    "whole": TypeAdapter(Whole),
    "share": TypeAdapter(SharePercent),
    "deadline": TypeAdapter(Deadline),
    "money": TypeAdapter(Money),
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h", 3600), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("0", 0),
     ("0.25s", 0.25), ("50ms", 0.05), ("1s5ms", 1.005), ("1d2h3m4.5s", 93_784.5)],
)  # fmt: skip
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert DURATION.validate_python(text) == seconds


@pytest.mark.parametrize(
    "text", ["30", "m", "", "1.5h", "30 m", "30M", "-1m", "5m1h", "1e3s", "٣m"]
)
def test_a_duration_without_a_clear_unit_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="needs a duration such as"):
        DURATION.validate_python(text)


@given(st.integers(min_value=0, max_value=30 * 86_400_000).map(lambda ms: ms / 1000))
def test_every_duration_prints_back_to_itself(seconds: float) -> None:
    text = scalars.duration_text(seconds)

    assert DURATION.validate_python(text) == seconds
    assert DURATION.dump_python(seconds, mode="json") == text


@given(st.integers(min_value=0, max_value=10**9))
def test_every_percentage_and_points_print_back_to_themselves(thousandths: int) -> None:
    for kind, unit in (("percent", "%"), ("points", "pp")):
        value = NUMBERS[kind].validate_python(f"{thousandths / 1000:.3f}{unit}")

        text = NUMBERS[kind].dump_python(value, mode="json")

        assert NUMBERS[kind].validate_python(text) == value
        assert NUMBERS[kind].dump_python(value, mode="json") == text


def test_a_percentage_is_the_nearest_fraction() -> None:
    percent = NUMBERS["percent"].validate_python

    assert [percent("5%"), percent("0.5 %"), percent("7%"), percent("100%")] == [
        0.05,
        0.005,
        0.07,
        1,
    ]


def test_points_deviations_and_money_keep_their_units() -> None:
    assert NUMBERS["points"].validate_python("1pp") == 0.01
    assert NUMBERS["deviations"].validate_python("0.03sd") == 0.03
    price = NUMBERS["money"].validate_python("0.0021 USD")
    assert (price.amount, price.currency) == (0.0021, "USD")
    assert NUMBERS["money"].dump_python(price, mode="json") == "0.0021 USD"


def test_a_deadline_is_a_multiple_of_the_hold_or_a_time_of_its_own() -> None:
    deadline = NUMBERS["deadline"].validate_python

    assert deadline("3x").of(1800) == 5400
    assert deadline("4h").of(1800) == 14_400
    assert NUMBERS["deadline"].dump_python(DeadlineAt(times=2.5), mode="json") == "2.5x"


@pytest.mark.parametrize("kind", sorted(NUMBERS))
@pytest.mark.parametrize(
    "text",
    [".nan", ".inf", "-.inf", "nan", "inf", "Infinity", "1e999", "1_000", "0x10", "true", ""],
)
def test_no_field_takes_what_is_not_a_finite_number(kind: str, text: str) -> None:
    with pytest.raises(ValidationError):
        NUMBERS[kind].validate_python(text)


@pytest.mark.parametrize("kind", sorted(NUMBERS))
@given(value=st.one_of(st.text(), st.none(), st.booleans(), st.lists(st.text()), st.binary()))
def test_anything_else_is_refused_in_words_or_understood(kind: str, value: object) -> None:
    refused: list[str] = []
    try:
        understood = NUMBERS[kind].validate_python(value)
    except ValidationError as error:
        refused = [detail["type"] for detail in error.errors()]
    else:
        text = NUMBERS[kind].dump_python(understood, mode="json")
        assert NUMBERS[kind].validate_python(text) == understood

    assert set(refused) <= {"rampway"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True])
def test_a_number_that_is_none_is_refused_even_when_it_comes_from_code(value: object) -> None:
    class_of: TypeAdapter[Any] = TypeAdapter(Duration, config={"allow_inf_nan": False})
    with pytest.raises(ValidationError):
        class_of.validate_python(value)


def test_a_time_needs_its_zone_and_is_kept_in_utc() -> None:
    instant: TypeAdapter[Any] = TypeAdapter(Instant)

    assert (
        instant.validate_python("2026-11-20T10:00:00+01:00").isoformat().endswith("09:00:00+00:00")
    )
    with pytest.raises(ValidationError, match="needs a time zone"):
        instant.validate_python("2026-11-20T09:00:00")
    with pytest.raises(ValidationError, match="needs a year"):
        instant.validate_python("0001-01-01T00:00:00+14:00")


@pytest.mark.parametrize(
    "path",
    ["../../etc/shadow", "/etc/shadow", "~/x", "a/../../b", "a\x00b", "file:///etc/passwd",
     "https://host/x", "c:\\x", "a\\b", "", " ", "a\nb"],
)  # fmt: skip
def test_a_path_stays_below_the_folder_of_the_file(path: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FilePath).validate_python(path)


def test_free_values_follow_json_and_nothing_else() -> None:
    plain = {
        "a": Plain("0"), "b": Plain("1.5"), "c": Plain("true"), "d": Plain("no"), "e": Plain("0123"),
        "f": Plain("0x10"), "g": "1", "h": None, "i": [Plain("-2e3")], "j": Plain("2026-11-20"),
    }  # fmt: skip

    values = TypeAdapter(FreeMap).validate_python(plain)

    assert values == {
        "a": 0, "b": 1.5, "c": True, "d": "no", "e": "0123",
        "f": "0x10", "g": "1", "h": None, "i": [-2000.0], "j": "2026-11-20",
    }  # fmt: skip
    assert {type(value) for value in values.values()} == {
        int, float, bool, str, type(None), list
    }  # fmt: skip


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf", "1e999", "9007199254740993", "9" * 5000])
def test_a_free_number_that_others_would_misread_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FreeMap).validate_python({"a": Plain(text)})
