"""How numbers, times and names are written, the same on every screen, page and message."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from rampway.gates.plans import AbPlan, SettlePlan, StepPlan
from rampway.gates.verdicts import Count
from rampway.release.phases import Phase
from rampway.release.records import Target, TargetKind

WIDTH = 100
LATENCY_BUCKET_GROWTH = 1.02  # bucket k starts at 1.02**k milliseconds, see gates.evidence
LATENCY_BUCKET_MAX = 1000  # 4.7 days; above it only time-outs are kept
_BP_PER_PERCENT = 100
_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
_DAYS_FROM = 2 * _DAY
_P_FLOOR = 0.001
_RATE_DIGITS = 2
_RATE_DIGITS_MAX = 4
_ELLIPSIS = "..."
_STAGE_WORDS = {
    "offline": "OFFLINE_GATE",
    "shadow": "SHADOW",
    "ab": "AB",
    "100 %": "FULL",
    "settling": "SETTLING",
}
_WENT_DOWN = (Phase.PINNED, Phase.ROLLING_BACK, Phase.STRANDED, Phase.ROLLED_BACK)


def integer(value: int) -> str:
    """`1,138`."""
    return f"{value:,}"


def decimal(value: float, digits: int = 1) -> str:
    """`12.8`, `1,204.0`; never `-0.0`."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def significant(value: float, digits: int = 2) -> str:
    """Two significant digits without an exponent: `0.00061`, `0.25`, `1,600`."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    if abs(rounded) >= 10 ** (digits - 1):
        return f"{rounded:,.0f}"
    return f"{rounded:.12f}".rstrip("0").rstrip(".") or significant_exponent(value)


def significant_exponent(value: float) -> str:
    """For probabilities below what a decimal shows: `3e-15`."""
    return f"{value:.0e}"


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as percent: `2.5 %`."""
    return f"{decimal(100 * fraction, digits)} %"


def percents_apart(first: float, second: float) -> tuple[str, str]:
    """Two different fractions with as many digits as it takes to tell them apart."""
    for digits in range(1, _RATE_DIGITS_MAX):
        pair = percent(first, digits), percent(second, digits)
        if first == second or pair[0] != pair[1]:
            return pair
    return percent(first, _RATE_DIGITS_MAX), percent(second, _RATE_DIGITS_MAX)


def share(basis_points: int) -> str:
    """A share of traffic: `5 %`, `2.5 %`."""
    whole, rest = divmod(basis_points, _BP_PER_PERCENT)
    return f"{whole} %" if rest == 0 else f"{basis_points / _BP_PER_PERCENT:.2f}".rstrip("0") + " %"


def points(difference: float) -> str:
    """A signed difference of fractions in percentage points: `+1.9 pp`."""
    return f"{signed(100 * difference)} pp"


def signed(value: float, digits: int = 1) -> str:
    """`+1.9`, `-4.1`, `0.0`."""
    text = decimal(value, digits)
    return f"+{text}" if float(text.replace(",", "")) > 0 else text


def interval_points(low: float, high: float) -> str:
    """An interval of fractions in percentage points: `[-5.6, -2.6]`."""
    return f"[{signed(100 * low)}, {signed(100 * high)}]"


def p_value(p: float) -> str:
    """`p < 0.001`, `p = 0.002`, `p > 0.999`."""
    if p < _P_FLOOR:
        return f"p < {_P_FLOOR}"
    if p > 1 - _P_FLOOR:
        return f"p > {1 - _P_FLOOR}"
    return f"p = {p:.3f}"


def one_in(probability: float) -> str:
    """A small probability as a person counts it: `1 in 1,600`."""
    return f"1 in {significant(1 / probability)}" if probability > 0 else "none"


def duration(seconds: float) -> str:
    """`0.9 s`, `42 s`, `7 min 40 s`, `3 h 05 min`, `2 d 3 h`; the unit never changes by rounding."""
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth matters
        tenths = f"{max(0.0, seconds):.1f}".removesuffix(".0")
        return f"{tenths} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAYS_FROM:
        minutes = round(seconds / _MINUTE)
        hours, rest = divmod(minutes, _MINUTE)
        return f"{hours} h {rest:02d} min" if rest else f"{hours} h"
    hours = round(seconds / _HOUR)
    return _two(hours // 24, "d", hours % 24, "h")


def utc(at: datetime) -> str:
    """`2026-11-20T01:57:54Z`, for records and lines that machines read."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: datetime, tz: tzinfo) -> str:
    """The time of day for a person: `02:57:54`, in UTC `01:57:54Z`."""
    return at.astimezone(tz).strftime("%H:%M:%S") + ("Z" if tz is UTC else "")


def day(at: datetime, tz: tzinfo) -> str:
    """`20 Nov 2026`."""
    local = at.astimezone(tz)
    return f"{local.day} {local:%b %Y}"


def zone(at: datetime, tz: tzinfo) -> str:
    """The zone's name and its distance from UTC then: `CET (UTC+1)`, `UTC`."""
    local = at.astimezone(tz)
    offset = local.utcoffset()
    minutes = int(offset.total_seconds()) // _MINUTE if offset else 0
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(abs(minutes), _MINUTE)
    distance = f"UTC{'+' if minutes > 0 else '-'}{hours}" + (f":{rest:02d}" if rest else "")
    name = local.tzname() or ""
    return f"{name} ({distance})" if name.isalpha() else distance


def span(start: datetime, end: datetime, tz: tzinfo) -> str:
    """From when to when, in minutes: `01:19 to 03:02 CET (UTC+1)`; days only where they differ."""
    first, last = start.astimezone(tz), end.astimezone(tz)
    if first.date() == last.date():
        return f"{first:%H:%M} to {last:%H:%M} {zone(end, tz)}"
    return f"{first.day} {first:%b %H:%M} to {last.day} {last:%b %H:%M} {zone(end, tz)}"


def short(digest: str) -> str:
    """The first six hex digits of a digest: `e87b05`."""
    return digest.removeprefix("sha256:")[:6]


def counted(count: Count) -> str:
    """`29 of 1,138 (2.55 %)`; an empty arm is `0 of 0`."""
    told = f"{integer(count.bad)} of {integer(count.units)}"
    return f"{told} ({percent(count.rate, _RATE_DIGITS)})" if count.units else told


def plural(number: int, noun: str) -> str:
    """`1 unit`, `1,138 units`, `904 copies`, `2 false positives`."""
    if number == 1:
        return f"1 {noun}"
    return f"{integer(number)} {plural_of(noun)}"


def plural_of(noun: str) -> str:
    """`units`, `copies`, `gateways`, `losses`."""
    if noun.endswith("y") and noun[-2:-1] not in set("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def where(step: str | None, phase: Phase) -> str:
    """Where a release is, or was when it stopped: `CANARY 5 %`, `SHADOW`, `FULL`."""
    if step is None:
        return phase.value
    if step in _STAGE_WORDS:
        return _STAGE_WORDS[step]
    canary = phase is Phase.CANARY or phase in _WENT_DOWN
    return f"CANARY {plain(step)}" if canary else f"{phase.value} {plain(step)}"


def threshold(plan: object, gate: str) -> str:
    """The frozen latency threshold of a gate, `2.38 s` or `185 ms`; empty if it has none."""
    if not isinstance(plan, StepPlan | AbPlan | SettlePlan):
        return ""
    bucket = next((g.threshold_bucket for g in plan.gates if g.name == gate), None)
    if bucket is None:
        return ""
    if bucket > LATENCY_BUCKET_MAX:
        return "the time-out"
    # Slower than the threshold is the next bucket on.
    ms = LATENCY_BUCKET_GROWTH ** (bucket + 1)
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"  # noqa: PLR2004 - ms in a second


def demo_mark(target: Target) -> str:
    """`DEMO ` before anything about a demo target, so that nobody takes it for production."""
    return "DEMO " if target.kind is TargetKind.DEMO else ""


def demo_sentence(target: Target) -> str:
    """Why a demo target's numbers prove nothing for production; empty for a real target."""
    if target.kind is not TargetKind.DEMO:
        return ""
    return "DEMO target: its holds and exposures are below the floor of a real target."


def plain(text: str, limit: int = 500) -> str:
    """Someone else's words made harmless for a terminal: one line, nothing invisible, bounded.

    Control, format and separator characters (escape sequences, bidirectional overrides, line ends)
    become spaces, by their Unicode general category.
    """
    shown = "".join(
        " " if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"} else c
        for c in text[: 4 * limit]
    )
    return shorten(" ".join(shown.split()), limit)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, three dots telling that there was more."""
    return text if len(text) <= limit else f"{text[: max(0, limit - len(_ELLIPSIS))]}{_ELLIPSIS}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:  # noqa: PLR2004 - two is the first list
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big} {big_unit} {small} {small_unit}" if small else f"{big} {big_unit}"
