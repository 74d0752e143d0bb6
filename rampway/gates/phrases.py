"""How gates say numbers to a person: counts, rates, times and differences, each with its unit."""

from collections.abc import Sequence

from rampway.gates.engine import HarmWatch
from rampway.gates.plans import RateGate, SettleGate
from rampway.gates.verdicts import Count

_SECOND_MS = 1000
_MINUTE = 60
_BUCKET_MAX = 20_000  # far beyond any latency, and still a float
_NOUNS = {"error": "error", "refusal": "refusal", "false_positive": "false positive"}
_SMALL_RATE = 0.1  # below ten percent a rate is read with two decimals


def words_for_seen(gate: RateGate | SettleGate, candidate: Count) -> str:
    """What the candidate did: `29 errors of 1,138 candidate units`."""
    units = counted(candidate.units, "candidate unit")
    if gate.quantile is not None and gate.threshold_bucket is not None:
        # Latencies are kept in buckets of [1.02**k, 1.02**(k+1)) ms; slower is the next bucket on.
        limit_ms = 1.02 ** min(gate.threshold_bucket + 1, _BUCKET_MAX)
        limit = f"{limit_ms / _SECOND_MS:.2f} s" if limit_ms >= _SECOND_MS else f"{limit_ms:.0f} ms"
        return f"{candidate.bad:,} of {units} over {limit}"
    noun = next((noun for key, noun in _NOUNS.items() if gate.name.startswith(key)), "bad unit")
    return f"{counted(candidate.bad, noun)} of {units}"


def words_for_breach(seen: str, harm: HarmWatch, expected: float) -> str:
    """Why it is a BREACH: what was seen, the boundary, and what a harmless candidate does."""
    why = f"{seen}{words_for_boundary(harm)}; {expected:.1f} expected if harmless"
    if harm.crossed_late:
        why += f"; {harm.seen_in_window:,} of them after {duration(harm.window_starts_seconds)}"
    return why


def words_for_boundary(harm: HarmWatch) -> str:
    """The smallest count that is a BREACH, as the end of a sentence; empty when none can be."""
    return "" if harm.breach_at is None else f", BREACH at {harm.breach_at:,}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 pair`, `5,702 pairs`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """`25 s`, `41 min`, `2 h 05 min`, `60 h`: as exact as a plan needs, rounded up."""
    whole = int(-(-seconds // 1))
    if whole < 2 * _MINUTE:
        return f"{whole} s"
    minutes = -(-whole // _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours} h {minutes:02d} min" if minutes and hours < 2 * 24 else f"{hours} h"


def percent(rate: float) -> str:
    """`0.47 %`, `15.2 %`."""
    return f"{rate * 100:.{2 if rate < _SMALL_RATE else 1}f} %"


def whole_percent(share: float) -> str:
    """A part that somebody declared: `95 %`, `97.5 %`."""
    return f"{share * 100:g} %"


def points(difference: float) -> str:
    """A difference of rates in percentage points: `-4.1 pp`."""
    return f"{signed_points(difference)} pp"


def signed_points(difference: float) -> str:
    """The same without its unit, for the ends of an interval."""
    return f"{difference * 100 + 0.0:+.1f}"


def probability(p: float) -> str:
    """`p < 0.001`, `p = 0.002`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: PLR2004 - three decimals shown


def enumerated(named: Sequence[str], count: int) -> str:
    """The first of `count` things: `past simple, future and 4 more`."""
    more = count - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def words_for_unpaired(p: float, level: float, difference: float) -> str:
    """What a z-test that forgets the pairs would have made of it, two-sided as it is mostly run."""
    said = "found nothing"
    if p < level:
        said = "blocked" if difference < 0 else "called it better"
    return f"an unpaired z-test at p < {level:g} would have {said}: {probability(p)}"
