"""Looks into each answer on its way back, as far as its route is understood, and says what was found."""

import sys
from collections.abc import Callable, Mapping
from typing import Final

from rampway.gateway.answers import Kept, is_json, is_packed, is_stream
from rampway.gateway.asking import Answer
from rampway.gateway.counting import Outcome
from rampway.gateway.dialects import Dialect, Dialects
from rampway.gateway.findings import ANSWER_ERROR, STREAM_ERROR, WRONG_ARTIFACT, Finding
from rampway.gateway.inspection import StreamReading, read_body
from rampway.gateway.jsonbodies import is_overfull
from rampway.gateway.refusals import HEADER as REFUSED
from rampway.gateway.refusals import says_refused
from rampway.gateway.settings import LimitSettings, RouteSettings
from rampway.gateway.terms import Served
from rampway.gateway.upstreams import Upstream

_ERRORS: Final = 400  # with such a status an error in the body says nothing new


class Reader:
    """Opens a reading for each answer."""

    def __init__(self, limits: LimitSettings, routes: Mapping[str, RouteSettings]) -> None:
        self._limits = limits
        self._dialects = Dialects(routes)

    def open(
        self,
        answer: Answer,
        rest: str,
        *,
        served: Served,
        upstream: Upstream,
        events_max: int = sys.maxsize,
    ) -> "Reading":
        """A reading of what this upstream answers to the raw path and query `rest`.

        Of a stream no more than `events_max` events are looked into.
        """
        dialect = self._dialects.of(rest)
        return Reading(answer, dialect, self._limits, served, upstream, events_max)


class Reading:
    """One answer. Tell `passed` of each chunk that passed, then `complete`; `close` in any case."""

    __slots__ = (
        "_answer",
        "_dialect",
        "_finding",
        "_limits",
        "_reads_body",
        "_served",
        "_stream",
        "_upstream",
        "passed",
    )

    def __init__(
        self,
        answer: Answer,
        dialect: Dialect | None,
        limits: LimitSettings,
        served: Served,
        upstream: Upstream,
        events_max: int = sys.maxsize,
    ) -> None:
        self._answer = answer
        self._dialect = dialect
        self._limits = limits
        self._served = served
        self._upstream = upstream
        self._reads_body = False
        self._stream: StreamReading | None = None
        self._finding: Finding | None = None
        self.passed: Callable[[bytes], None] = _not_looked_into
        if is_packed(answer):
            if dialect is not None:
                self._finding = Finding(unread=True)
        elif is_json(answer):
            self._reads_body = True
        elif dialect is not None and answer.status < _ERRORS and is_stream(answer):
            self._stream = StreamReading(dialect, limits.examined_event_bytes, events_max)
            self._finding = self._stream.finding
            self.passed = self._stream.feed

    @property
    def artifact_header(self) -> str:
        return self._upstream.artifact_header

    @property
    def served_wrong(self) -> str | None:
        """The kind of error, where the upstream says that it served another artifact than the arm's."""
        headers, name = self._answer.headers, self._upstream.artifact_header
        if name not in headers:
            return None
        artifact = self._served.artifact
        return WRONG_ARTIFACT if any(told != artifact for told in headers.getall(name)) else None

    @property
    def kept_bytes(self) -> int:
        """How much of the answer has to be kept to be read."""
        return self._limits.examined_answer_bytes if self._reads_body else 0

    def complete(self, outcome: Outcome, kept: Kept) -> None:
        """The last byte has come: tell the outcome of a refusal, and of an error behind a good status."""
        kind: str | None = None
        if self._stream is not None:
            kind = self._stream.end()
        elif self._reads_body:
            kind = self._read_body(outcome, kept)
        finding = self._finding
        if self._answer.headers.get(REFUSED) == "1" or (finding is not None and finding.refused):
            outcome.refused = True
        if finding is not None:
            finding.refused = outcome.refused  # the log says what is counted
        if outcome.kind is None and self._answer.status < _ERRORS:
            outcome.kind = kind

    def cut_off(self) -> None:
        """The rest is not read: nobody can say what it would have told."""
        if self._stream is not None or (self._reads_body and self._dialect is not None):
            self._finding = self._finding or Finding()
            self._finding.unread = True

    def close(self, outcome: Outcome) -> None:
        """However it ended: what it told until then goes with the outcome."""
        finding = outcome.finding = self._finding
        if finding is None:
            return
        self._upstream.tariff.settle(finding, self._served.serve.fields.get("model"))
        # A caller leaves a stream that told an error: it is the error that counts.
        if self._stream is not None and finding.failed and outcome.kind is None:
            outcome.kind, outcome.aborted = STREAM_ERROR, False

    def _read_body(self, outcome: Outcome, kept: Kept) -> str | None:
        body = kept.whole(self._limits.examined_answer_bytes)
        if body is None:
            self._finding = None if self._dialect is None else Finding(unread=True)
            return None
        if self._dialect is None:
            outcome.refused = not is_overfull(body) and says_refused(body)
            return None
        self._finding = read_body(self._dialect, body)
        return ANSWER_ERROR if self._finding.failed else None


def _not_looked_into(_chunk: bytes) -> None:
    """No stream: the whole answer is read once it is there, or nothing of it."""
