"""The manifest of a traffic report: what it was made from, by digest, so that it can be made again.

It holds no time of its own and no path: the same log, grader and options give the same bytes.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from rampway.gates.facts import digest_of_bytes
from rampway.reports.comparison import TrafficReport

FORMAT = 1


def manifest(report: TrafficReport, rendered: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """The manifest of a report; `rendered` are its pages by format (`html`, `md`)."""
    subject, read = report.subject, report.read
    return {
        "format": FORMAT,
        "artifacts": {"baseline": subject.baseline, "candidate": subject.candidate},
        "dataset": {"digest": subject.dataset, "requests": subject.requests},
        "traffic": {
            "target": subject.target,
            "releases": list(subject.releases),
            "epoch": subject.epoch,
            "segments": list(subject.segments),
            "share_bp": subject.share_bp,
            "window": {
                "from": subject.began_at,
                "to": subject.ended_at,
                "seconds": round(subject.ended_at - subject.began_at, 3),
            },
        },
        "seeds": dict(subject.seeds),
        "grader": subject.grader,
        "log": {
            "digest": subject.log,
            "lines": read.lines,
            "live": read.live,
            "pairs": read.pairs,
            "bad": [line.number for line in read.bad],
        },
        "options": {"by": list(subject.by), "price": dict(subject.price)},
        "recommendation": report.advice.recommendation.value,
        "reports": {form: digest_of_bytes(body) for form, body in sorted(rendered.items())},
    }
