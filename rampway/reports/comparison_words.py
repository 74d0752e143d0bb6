"""The sentences and table rows of a traffic report, the same on the terminal, page and Markdown."""

from datetime import UTC, datetime

from rampway.gates.comparison import BucketCompared, RateCompared, Recommendation
from rampway.reports.comparison import (
    BUCKETS_SHOWN,
    Change,
    LogFacts,
    Subject,
    TrafficReport,
    Waits,
)
from rampway.reports.texts import columns
from rampway.reports.words import (
    WIDTH,
    decimal,
    duration,
    integer,
    interval_points,
    listed,
    p_value,
    percent,
    plain,
    plural,
    points,
    share,
    short,
    shorten,
    significant,
    utc,
)

RATE_COLUMNS = (
    *("metric", "baseline", "candidate", "difference", "95 % CI", "z"),
    *("p", "p (Holm)", "reading"),
)
BUCKET_COLUMNS = ("value", "baseline", "candidate", "difference", "95 % CI", "p (Holm)", "reading")
LATENCY_COLUMNS = ("arm", "units", "p50", "p95", "p99", "no full answer")
_TENTHS_BELOW_MS = 100
_SECONDS_FROM_MS = 10_000
_NAMED_MAX = 10
_WORDS = {
    Recommendation.PROMOTE: "promote",
    Recommendation.HOLD: "hold",
    Recommendation.RETRAIN: "retrain",
}


def headline(report: TrafficReport) -> str:
    """`Promote tutor-b: on tutor ...`, in one sentence."""
    advice = report.advice
    return f"Recommendation: {_WORDS[advice.recommendation]}. {_sentence(advice.why)}"


def summary_text(report: TrafficReport) -> str:
    """The screen of `rampway compare`: recommendation, rates, latencies, pairs, what was not counted."""
    blocks = [[shorten(headline(report), 3 * WIDTH), *subject_lines(report.subject)]]
    if report.arms is not None:
        rows = [_screen_row(rate) for rate in report.arms.rates]
        heading = ["rate", "baseline", "candidate", "difference", "95 % CI", "z", "p", "reading"]
        blocks.append(columns([heading, *rows]))
    if report.waits is not None:
        blocks.append(columns([list(LATENCY_COLUMNS), *latency_rows(report)]))
    told = [text for text in (latency_sentence(report), pairs_sentence(report)) if text]
    blocks.append([*told, *cost_lines(report)])
    blocks.append(log_lines(report.read))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def subject_lines(subject: Subject) -> list[str]:
    """Target, artifacts, split and grader."""
    began = datetime.fromtimestamp(subject.began_at, UTC)
    split = "no A/B" if subject.share_bp is None else f"A/B at {share(subject.share_bp)}"
    where = (
        f"{plain(subject.target)} epoch {subject.epoch}: baseline {short(subject.baseline)}, "
        f"candidate {short(subject.candidate)}, {split}, from {utc(began)} for "
        f"{duration(subject.ended_at - subject.began_at)}"
    )
    dataset = f"{plural(subject.requests, 'unit')}, dataset {subject.dataset}"
    return [where, f"grader {plain(subject.grader)}", dataset]


def rate_rows(report: TrafficReport) -> list[list[str]]:
    """One row per rate of the A/B (see RATE_COLUMNS)."""
    return [_rate_row(rate) for rate in report.arms.rates] if report.arms else []


def bucket_rows(buckets: tuple[BucketCompared, ...]) -> list[list[str]]:
    """The likeliest differences of one column, at most BUCKETS_SHOWN (see BUCKET_COLUMNS)."""
    return [
        [
            plain(bucket.value, 40),
            _portion(bucket.rate.baseline.hits, bucket.rate.baseline.units),
            _portion(bucket.rate.candidate.hits, bucket.rate.candidate.units),
            points(bucket.rate.difference),
            interval_points(bucket.rate.low, bucket.rate.high),
            p_value(bucket.rate.p_holm),
            bucket.rate.reading.value,
        ]
        for bucket in buckets[:BUCKETS_SHOWN]
    ]


def buckets_note(report: TrafficReport, column: str) -> str:
    """What of a column is not in the table, if anything."""
    left = len(report.buckets()[column]) - BUCKETS_SHOWN
    one = report.one_armed.get(column, 0)
    told = (
        [f"{plural(left, 'more value')}, less likely to differ: --output json."] if left > 0 else []
    )
    told += [f"{plural(one, 'value')} only in one arm: nothing to compare."] if one else []
    return " ".join(told)


def latency_rows(report: TrafficReport) -> list[list[str]]:
    """One row per arm (see LATENCY_COLUMNS)."""
    if report.waits is None:
        return []
    return [
        [name, *_waits_cells(waits)]
        for name, waits in zip(("baseline", "candidate"), report.waits, strict=True)
    ]


def latency_sentence(report: TrafficReport) -> str:
    """Mann-Whitney U and the shift; empty without an A/B."""
    latency = report.arms.latency if report.arms else None
    if latency is None:
        return (
            "Latencies are of copied requests: the candidate's were seen by nobody, so they are not "
            "tested."
            if report.waits
            else ""
        )
    shift = (
        "its shift cannot be told in ms for time-outs"
        if latency.shift_ms is None
        else f"shift {_signed_ms(latency.shift_ms)}"
    )
    if latency.shift_low_ms is not None and latency.shift_high_ms is not None:
        shift += f" [{_signed_ms(latency.shift_low_ms)}, {_signed_ms(latency.shift_high_ms)}]"
    law = "exact" if latency.z is None else f"z = {decimal(latency.z, 2)}"
    return (
        f"Latency: Mann-Whitney U = {decimal(latency.u)}, {law}, {p_value(latency.p)}; a candidate "
        f"answer is the slower one in {percent(latency.chance_slower)} of pairs; {shift}."
    )


def pairs_sentence(report: TrafficReport) -> str:
    """Improved, regressed, neutral; empty where no request has two answers."""
    pairs = report.pairs
    if pairs is None:
        return ""
    return (
        f"Disagreements on {plural(pairs.pairs, 'pair')} ({pairs.paired_by}): "
        f"{integer(pairs.improved)} improved, {integer(pairs.regressed)} regressed, "
        f"{integer(pairs.neutral)} neutral; {points(pairs.difference)} "
        f"{interval_points(pairs.low, pairs.high)}, {p_value(pairs.p)} ({pairs.test})."
    )


def cost_lines(report: TrafficReport) -> list[str]:
    """What a correct answer costs in each arm; nothing without a price."""
    cost = report.arms.cost if report.arms else None
    if cost is None:
        return []
    told = [
        f"{name} {significant(value, 3) if value is not None else 'unknown'}"
        for name, value in (
            ("baseline", cost.baseline_per_correct),
            ("candidate", cost.candidate_per_correct),
        )
    ]
    ratio = "" if cost.ratio is None else f", {decimal(cost.ratio, 2)} times as much"
    return [f"Cost per correct answer: {', '.join(told)}{ratio}."]


def loud_lines(read: LogFacts) -> list[str]:
    """What makes a reader distrust the log: torn lines, and requests that both arms answered."""
    told: list[str] = []
    if read.crossed:
        told.append(
            f"ERROR: {plural(len(read.crossed), 'request')} had answers from both arms and "
            f"{'is' if len(read.crossed) == 1 else 'are'} left out: {_named(read.crossed)}"
        )
    if read.bad:
        told.append(f"ERROR: {plural(len(read.bad), 'line')} of the log cannot be used:")
        told += [f"  line {line.number} {plain(line.why, 120)}" for line in read.bad[:_NAMED_MAX]]
        if len(read.bad) > _NAMED_MAX:
            told.append(f"  and {plural(len(read.bad) - _NAMED_MAX, 'more line')}")
    return told


def log_lines(read: LogFacts) -> list[str]:
    """Where every line of the log went."""
    parts = [plural(read.live, "live answer"), plural(read.pairs, "copied request")]
    parts += [f"{integer(n)} {plain(kind, 40)}" for kind, n in sorted(read.other.items())]
    if read.outside:
        parts.append(f"{integer(read.outside)} outside the comparison")
    parts.append(f"{integer(len(read.bad))} unusable")
    lines = [f"Log: {plural(read.lines, 'line')} = {' + '.join(parts)}."]
    if read.repeated:
        lines.append(
            f"{plural(read.repeated, 'answer')} to units that had one already: each unit counts once."
        )
    for arm, lost in sorted(read.ungraded.items()):
        lines.append(f"Not graded, {arm}: {_reasons(lost)}.")
    if read.unpaired:
        lines.append(f"Copies without a graded pair: {_reasons(read.unpaired)}.")
    return [*loud_lines(read), *lines]


def change_cells(change: Change) -> list[str]:
    """Kind, request, question, expected, both answers."""
    case = change.case
    return [
        change.changed.value,
        plain(case.case, 60),
        plain(case.question or "-", 200),
        plain(case.expected or "-", 120),
        plain(case.old_answer or "-", 200),
        plain(case.new_answer or "-", 200),
    ]


def milliseconds(value: float | None) -> str:
    """`31.2 ms`, `842 ms`, `12.4 s`; None is no full answer."""
    if value is None:
        return "no answer"
    if value >= _SECONDS_FROM_MS:
        return f"{decimal(value / 1000)} s"
    return f"{decimal(value, 1 if value < _TENTHS_BELOW_MS else 0)} ms"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _screen_row(rate: RateCompared) -> list[str]:
    row = _rate_row(rate)
    return [*row[:6], row[7], row[8]]


def _rate_row(rate: RateCompared) -> list[str]:
    return [
        plain(rate.metric, 40),
        _portion(rate.baseline.hits, rate.baseline.units),
        _portion(rate.candidate.hits, rate.candidate.units),
        points(rate.difference),
        interval_points(rate.low, rate.high),
        decimal(rate.z, 2),
        p_value(rate.p),
        p_value(rate.p_holm),
        rate.reading.value,
    ]


def _portion(hits: int, units: int) -> str:
    if not units:
        return "0 of 0"
    return f"{integer(hits)} of {integer(units)} ({percent(hits / units)})"


def _waits_cells(waits: Waits) -> list[str]:
    found = waits.percentiles
    return [
        integer(found.units),
        *(milliseconds(value) for value in (found.p50, found.p95, found.p99)),
        integer(waits.timeouts),
    ]


def _signed_ms(value: float) -> str:
    text = milliseconds(abs(value))
    if text == milliseconds(0.0):
        return text
    return f"+{text}" if value > 0 else f"-{text}"


def _named(names: tuple[str, ...]) -> str:
    shown = [plain(name, 60) for name in names[:_NAMED_MAX]]
    left = len(names) - len(shown)
    return listed(shown) if not left else f"{', '.join(shown)} and {left} more"


def _reasons(lost: dict[str, int]) -> str:
    return ", ".join(f"{integer(n)} {plain(why, 60)}" for why, n in sorted(lost.items()))
