"""The typed scalars of release.yaml: text in, a checked number out, and the same text back.

Every scalar of the file reaches this place as text, so that `no`, `1234567e8` and `0123` stay what
the author wrote. A number is accepted too where the value was already parsed once (a stored spec).
"""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, NoReturn, TypeVar, cast

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from rampway.gates.facts import Fact

SHOWN_LENGTH = 40
TEXT_LENGTH = 200
FULL_PERCENT = 100
BASIS_POINT = Decimal("0.0001")
FIRST_YEAR, LAST_YEAR = 2000, 2999
MINUTE, HOUR, DAY = 60, 3600, 86_400

T = TypeVar("T")


def wrong(message: str) -> NoReturn:
    """Refuse a value in the reader's words."""
    raise PydanticCustomError("rampway", "{message}", {"message": message})


def shown(value: object) -> str:
    """A value as an error message may show it: short, on one line, never a whole subtree."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys below it"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(str(value), ensure_ascii=True)[1:-1]
    return f"'{text}'" if len(text) <= SHOWN_LENGTH else f"'{text[:SHOWN_LENGTH]}…'"


def matched(value: object, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
    """Match a scalar's text, or refuse it by saying what was expected."""
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        wrong(f"needs {expected}, got {shown(value)}")
    return found


def between(low: float, high: float, words: Callable[[float], str]) -> Callable[[float], float]:
    """A rule that a number lies within bounds, both included, told in the field's own unit."""

    def check(value: float) -> float:
        if not low <= value <= high:
            wrong(f"must be between {words(low)} and {words(high)}, not {words(value)}")
        return value

    return check


def _already_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_DURATION = re.compile(
    r"(?=[0-9])(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8}(?:\.[0-9]{1,3})?)s)?(?:([0-9]{1,7})ms)?|0"
)


def parse_duration(value: object) -> object:
    """`30m`, `1h30m`, `90s`, `50ms`, `2d` to seconds; `0` is no time at all."""
    if _already_number(value):
        return value
    found = matched(value, _DURATION, "a duration such as 90s, 30m or 1h30m")
    days, hours, minutes, seconds, milliseconds = (Decimal(part or 0) for part in found.groups())
    whole = days * DAY + hours * HOUR + minutes * MINUTE
    return float(whole + seconds + milliseconds / 1000)


def duration_text(seconds: float) -> str:
    """The shortest spelling that parses back to the same number of seconds."""
    if seconds != int(seconds):
        return f"{seconds}s"
    whole = int(seconds)
    parts = ((whole // HOUR, "h"), (whole % HOUR // MINUTE, "m"), (whole % MINUTE, "s"))
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount) or "0s"


def duration_words(seconds: float) -> str:
    """A duration as screens say it: `20 s`, `30 min`, `6 h`."""
    for unit, name in ((HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")
_POINTS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?pp")
_DEVIATIONS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?sd")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_SHARE = re.compile(r"([0-9]{1,3}) ?%?")
_TIMES = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?x")


def parse_percent(value: object) -> object:
    """`5%` to the fraction 0.05."""
    if _already_number(value):
        return value
    return float(Decimal(matched(value, _PERCENT, "a percentage such as 5%")[1]) / 100)


def parse_points(value: object) -> object:
    """`1pp` (percentage points) to the fraction 0.01."""
    if _already_number(value):
        return value
    return float(Decimal(matched(value, _POINTS, "percentage points such as 1pp")[1]) / 100)


def parse_deviations(value: object) -> object:
    """`0.03sd` (standard deviations of the baseline's score) to 0.03."""
    if _already_number(value):
        return value
    return float(matched(value, _DEVIATIONS, "standard deviations such as 0.03sd")[1])


def parse_number(value: object) -> object:
    """A finite number."""
    if _already_number(value):
        return value
    number = float(matched(value, _NUMBER, "a number such as 1.5")[0])
    if not math.isfinite(number):
        wrong(f"needs a finite number, got {shown(value)}")
    return number


def parse_whole(value: object) -> object:
    """A whole number."""
    if _already_number(value):
        return value
    return int(matched(value, _WHOLE, "a whole number such as 10000")[0])


def parse_share(value: object) -> object:
    """The share of a step: a whole percentage, with or without its sign."""
    share = value
    if not _already_number(value):
        share = int(matched(value, _SHARE, "a whole percentage such as 5")[1])
    if not isinstance(share, int) or not 1 <= share <= FULL_PERCENT:
        wrong(f"must be a whole percentage between 1 and {FULL_PERCENT}, not {shown(value)}")
    return share


def percent_words(fraction: float) -> str:
    """A fraction as screens say it: `5 %`."""
    return f"{_hundredfold(fraction)} %"


def number_words(value: float) -> str:
    """A number without needless zeros."""
    return f"{value:,}" if isinstance(value, int) else _plainly(Decimal(repr(value)))


def _hundredfold(fraction: float) -> str:
    return _plainly(Decimal(repr(fraction)) * 100)


def _plainly(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def whole_basis_points(fraction: float) -> float:
    """A share of traffic is a whole number of hundredths of a percent, as the data plane counts."""
    if Decimal(repr(fraction)) % BASIS_POINT:
        wrong(f"must be a multiple of 0.01 %, not {percent_words(fraction)}")
    return fraction


def basis_points(fraction: float) -> int:
    """A share of traffic in the data plane's unit."""
    return round(fraction * 10_000)


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", "examples": [example]})


def _as_text(render: Callable[[float], str]) -> PlainSerializer:
    return PlainSerializer(render, return_type=str, when_used="json")


# A number is read from text, so an editor must accept both spellings.
_NUMBER_SCHEMA = WithJsonSchema({"type": "number"})
_WHOLE_SCHEMA = WithJsonSchema({"type": "integer"})

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    _as_text(duration_text),
    _schema(_DURATION.pattern, "30m"),
]
Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    _as_text(lambda value: f"{_hundredfold(value)}%"),
    _schema(_PERCENT.pattern, "5%"),
]
Points = Annotated[
    float,
    BeforeValidator(parse_points),
    _as_text(lambda value: f"{_hundredfold(value)}pp"),
    _schema(_POINTS.pattern, "1pp"),
]
Deviations = Annotated[
    float,
    BeforeValidator(parse_deviations),
    _as_text(lambda value: f"{_plainly(Decimal(repr(value)))}sd"),
    _schema(_DEVIATIONS.pattern, "0.03sd"),
]
Number = Annotated[float, BeforeValidator(parse_number), _NUMBER_SCHEMA]
SharePercent = Annotated[
    int,
    BeforeValidator(parse_share),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": FULL_PERCENT}),
]
Whole = Annotated[int, BeforeValidator(parse_whole), _WHOLE_SCHEMA]


class DeadlineAt(Fact):
    """When a stage must have passed: so many times its hold, or a time of its own (seconds)."""

    times: float | None = Field(default=None, ge=1, le=100)
    seconds: float | None = Field(default=None, gt=0)

    def of(self, hold_seconds: float) -> float:
        """The deadline of a stage with this hold, in seconds since the stage began."""
        return self.seconds if self.seconds is not None else (self.times or 1) * hold_seconds


def parse_deadline(value: object) -> object:
    """`3x` (of the hold) or a duration."""
    if not isinstance(value, str):
        return value if isinstance(value, DeadlineAt) else wrong(_not_a_deadline(value))
    times = _TIMES.fullmatch(value)
    if times is not None:
        return DeadlineAt(times=between(1, 100, number_words)(float(times[1])))
    found = _DURATION.fullmatch(value)
    if found is None:
        wrong(_not_a_deadline(value))
    seconds = cast("float", parse_duration(value))
    return DeadlineAt(seconds=between(1, 30 * DAY, duration_words)(seconds))


def deadline_text(deadline: DeadlineAt) -> str:
    """`3x` or a duration."""
    if deadline.seconds is not None:
        return duration_text(deadline.seconds)
    return f"{_plainly(Decimal(repr(deadline.times or 1.0)))}x"


def _not_a_deadline(value: object) -> str:
    return f"needs a multiple of the hold such as 3x, or a duration such as 4h, got {shown(value)}"


Deadline = Annotated[
    DeadlineAt,
    BeforeValidator(parse_deadline),
    PlainSerializer(deadline_text, return_type=str, when_used="json"),
    _schema(f"{_TIMES.pattern}|{_DURATION.pattern}", "3x"),
]


class Price(Fact):
    """What one call costs."""

    amount: float = Field(ge=0, le=1e6)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


_MONEY = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?) ([A-Z]{3})")


def parse_money(value: object) -> object:
    """`0.0021 USD`."""
    if isinstance(value, Price):
        return value
    found = matched(value, _MONEY, "a price such as 0.0021 USD")
    return Price(amount=float(found[1]), currency=found[2])


Money = Annotated[
    Price,
    BeforeValidator(parse_money),
    PlainSerializer(
        lambda price: f"{_plainly(Decimal(repr(price.amount)))} {price.currency}",
        return_type=str,
        when_used="json",
    ),
    _schema(_MONEY.pattern, "0.0021 USD"),
]


def parse_instant(value: object) -> object:
    """An ISO 8601 time with its zone, kept in UTC."""
    if not isinstance(value, str):
        return value if isinstance(value, datetime) else wrong(_not_an_instant(value))
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        wrong(_not_an_instant(value))
    if instant.tzinfo is None:
        wrong(f"needs a time zone, such as {value}Z or {value}+01:00")
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        wrong(f"needs a year from {FIRST_YEAR} to {LAST_YEAR}, got {shown(value)}")
    return instant.astimezone(UTC)


def _not_an_instant(value: object) -> str:
    return f"needs an ISO 8601 time such as 2026-11-20T09:00:00Z, got {shown(value)}"


Instant = Annotated[AwareDatetime, BeforeValidator(parse_instant)]


def one_line(value: object) -> object:
    """Text for a screen or a header: not empty, on one line, of bounded length."""
    if not isinstance(value, str):
        wrong(f"needs text, got {shown(value)}")
    text = str(value)
    if not text.strip():
        wrong("needs text, got nothing")
    if len(text) > TEXT_LENGTH or not text.isprintable():
        wrong(f"needs one line of at most {TEXT_LENGTH} characters, got {shown(text)}")
    return text


def any_text(value: object) -> object:
    """Text of any length, not empty."""
    if not isinstance(value, str) or not value.strip():
        wrong(f"needs text, got {shown(value) if value != '' else 'nothing'}")
    return str(value)


def named(pattern: str, expected: str) -> BeforeValidator:
    """A name that follows a pattern."""
    compiled = re.compile(pattern)

    def check(value: object) -> object:
        return matched(value, compiled, expected)[0]

    return BeforeValidator(check)


def file_below(value: object) -> object:
    """A path below the folder of release.yaml; where it leads is read once, by the command line."""
    text = cast("str", one_line(value))
    if "://" in text:
        wrong(f"needs a file, not a URL, got {shown(text)}")
    if text.startswith(("/", "~")) or "\\" in text or ":" in text:
        wrong(f"needs a path relative to release.yaml, with forward slashes, got {shown(text)}")
    if ".." in text.split("/"):
        wrong(f"must stay below the folder of release.yaml, got {shown(text)}")
    return text


Line = Annotated[str, BeforeValidator(one_line), WithJsonSchema({"type": "string"})]
Text = Annotated[str, BeforeValidator(any_text), WithJsonSchema({"type": "string"})]
FilePath = Annotated[str, BeforeValidator(file_below), WithJsonSchema({"type": "string"})]
