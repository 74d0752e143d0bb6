import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.gates.verdicts import Count
from rampway.release.phases import Phase
from rampway.reports import words

AT = datetime(2026, 11, 20, 1, 57, 54, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.94, "0.9 s"),
        (4.5, "4.5 s"),
        (9.97, "10 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (460, "7 min 40 s"),
        (3599.7, "1 h"),
        (11_100, "3 h 05 min"),
        (12 * 3600, "12 h"),
        (51 * 3600, "2 d 3 h"),
        (-3, "0 s"),
    ],
)
def test_a_duration_is_told_in_at_most_two_units(seconds: float, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(
    ("basis_points", "told"),
    [(0, "0 %"), (1, "0.01 %"), (250, "2.5 %"), (500, "5 %"), (10_000, "100 %")],
)
def test_a_share_is_told_in_percent(basis_points: int, told: str) -> None:
    assert words.share(basis_points) == told


def test_numbers_have_thousands_signs_and_units() -> None:
    assert words.integer(21_891) == "21,891"
    assert words.percent(0.0254833) == "2.5 %"
    assert words.points(0.019) == "+1.9 pp"
    assert words.points(-0.041) == "-4.1 pp"
    assert words.points(-0.00001) == "0.0 pp"
    assert words.interval_points(-0.056, -0.026) == "[-5.6, -2.6]"
    assert words.counted(Count(bad=29, units=1138)) == "29 of 1,138 (2.55 %)"
    assert words.counted(Count()) == "0 of 0"


@pytest.mark.parametrize(
    ("p", "told"), [(0.0004, "p < 0.001"), (0.002, "p = 0.002"), (0.9999, "p > 0.999")]
)
def test_a_p_value_never_claims_to_be_0_or_1(p: float, told: str) -> None:
    assert words.p_value(p) == told


def test_a_small_probability_is_told_as_people_count() -> None:
    assert words.one_in(0.00061) == "1 in 1,600"
    assert words.one_in(0) == "none"
    assert words.significant(0.00061) == "0.00061"
    assert words.significant(1639) == "1,600"


def test_two_rates_get_the_digits_that_tell_them_apart() -> None:
    assert words.percents_apart(0.0255, 0.0103) == ("2.5 %", "1.0 %")
    assert words.percents_apart(0.01032, 0.01001) == ("1.03 %", "1.00 %")
    assert words.percents_apart(0.01, 0.01) == ("1.0 %", "1.0 %")


def test_times_are_utc_for_machines_and_local_for_people() -> None:
    assert words.utc(AT.astimezone(BERLIN)) == "2026-11-20T01:57:54Z"
    assert words.clock(AT, BERLIN) == "02:57:54"
    assert words.clock(AT, UTC) == "01:57:54Z"
    assert words.zone(AT, BERLIN) == "CET (UTC+1)"
    assert words.zone(AT, UTC) == "UTC"
    assert words.zone(AT, timezone(-timedelta(hours=9, minutes=30))) == "UTC-9:30"


def test_a_span_names_the_days_only_when_they_differ() -> None:
    same_day = words.span(AT, AT + timedelta(minutes=5), BERLIN)
    next_day = words.span(AT, AT + timedelta(hours=23), BERLIN)

    assert same_day == "02:57 to 03:02 CET (UTC+1)"
    assert next_day == "20 Nov 02:57 to 21 Nov 01:57 CET (UTC+1)"


def test_a_step_is_told_with_its_phase_even_when_it_went_down() -> None:
    assert words.where("5 %", Phase.CANARY) == "CANARY 5 %"
    assert words.where("5 %", Phase.ROLLED_BACK) == "CANARY 5 %"
    assert words.where("100 %", Phase.PINNED) == "FULL"
    assert words.where("shadow", Phase.SHADOW) == "SHADOW"
    assert words.where(None, Phase.QUEUED) == "QUEUED"


def test_other_peoples_words_cannot_move_the_cursor_or_turn_the_line() -> None:
    hostile = "ok\x1b[2J\r\nPASS\u202egnp\u2028x"

    assert words.plain(hostile) == "ok [2J PASS gnp x"


@given(st.text(max_size=300), st.integers(4, 60))
def test_plain_words_are_one_bounded_visible_line(text: str, limit: int) -> None:
    shown = words.plain(text, limit)

    assert len(shown) <= limit
    assert all(unicodedata.category(c)[0] != "C" for c in shown)
    assert "\n" not in shown


@given(st.floats(0, 10_000_000))
def test_a_duration_never_shows_60_of_a_smaller_unit(seconds: float) -> None:
    told = words.duration(seconds)

    assert not {"60 s", "60 min", "24 h"} & {told.split(maxsplit=2)[-1]}
    assert not told.startswith(("60 s", "60 min"))


@given(st.integers(0, 10_000))
def test_a_share_can_be_read_back(basis_points: int) -> None:
    assert round(float(words.share(basis_points).removesuffix(" %")) * 100) == basis_points
