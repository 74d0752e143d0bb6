"""One line per served request and per copy, for people and for reports; never for counts."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson

from rampway.gateway.answerlog import LogRecord
from rampway.gateway.answerlog import encode as encode_answer
from rampway.gateway.assignment import Split
from rampway.gateway.capture import allowed
from rampway.gateway.findings import Finding
from rampway.gateway.forgetting import SALTS
from rampway.gateway.lossy import LossyFile, LossyWriter
from rampway.gateway.redaction import redacted_id
from rampway.gateway.settings import CaptureSettings
from rampway.gateway.spool import SpoolRecord, first_line
from rampway.gateway.spool import encode as encode_for_judge

_KEYS_MAX = 1_000  # waiting to be written
_LINE_BYTES = 512  # what a waiting line is reckoned to hold


class Entry(NamedTuple):
    """What one line tells. `ts` is the start in wall seconds, `error` the kind of error or None."""

    ts: float
    request_id: str
    trace_id: str
    target: str
    release: str | None
    epoch: int
    segment: int
    arm: str
    reason: str
    shadow: bool
    status: int | None
    latency_ms: float
    size_bytes: int
    error: str | None
    unit: bytes
    split: Split | None
    finding: Finding | None = None


def encode(entry: Entry) -> bytes:
    """One line, without its end. The unit is told by a pseudonym that only this release's salt links."""
    finding = entry.finding
    return orjson.dumps(
        {
            "ts": entry.ts,
            "request_id": redacted_id(entry.request_id),
            "trace_id": redacted_id(entry.trace_id),
            "target": entry.target,
            "release": entry.release,
            "epoch": entry.epoch,
            "segment": entry.segment,
            "arm": entry.arm,
            "reason": entry.reason,
            "traffic.arm": entry.arm,  # the name under which spans and other logs tell it
            "shadow": entry.shadow,
            "status": entry.status,
            "latency_ms": round(entry.latency_ms, 3),
            "bytes": entry.size_bytes,
            "error": entry.error,
            "unit": entry.split.pseudonym(entry.unit) if entry.split else None,
            **(_told(finding) if finding else {}),
        }
    )


def _told(finding: Finding) -> dict[str, str | int | float | None]:
    """What an answer that was looked into told; such lines have these fields more."""
    return {
        "refused": finding.refused,
        "finish_reason": finding.finish_reason,
        "model": finding.model,
        "served_other": finding.served_other,
        "prompt_tokens": finding.prompt_tokens,
        "completion_tokens": finding.completion_tokens,
        "cost": finding.cost,
    }


class Key(NamedTuple):
    """What a release's pseudonyms are made with (`salt` in hexadecimal); `at` in wall seconds."""

    release: str
    salt: str
    at: float


class TrafficFiles:
    """The traffic log, the spool and the answers of each target, written by one thread.

    `suffix` tells the logs of one process from those of another.
    """

    def __init__(
        self, directory: Path, capture: CaptureSettings, writer: LossyWriter, *, suffix: str = ""
    ) -> None:
        self._directory = directory
        self._suffix = suffix
        self._capture = capture
        self._writer = writer
        self.logs: dict[str, LossyFile[Entry]] = {}
        self.spools: dict[str, LossyFile[SpoolRecord]] = {}
        self.answers: dict[str, LossyFile[LogRecord]] = {}
        self.salts: dict[str, LossyFile[Key]] = {}
        self._keys: dict[str, Key] = {}

    def all(self) -> Iterator[LossyFile[Entry] | LossyFile[SpoolRecord] | LossyFile[LogRecord]]:
        yield from self.logs.values()
        yield from self.spools.values()
        yield from self.answers.values()

    @property
    def keeps_answers(self) -> bool:
        return self._capture.answers

    def note_key(self, target: str, release: str, salt: str) -> None:
        """Keep what a release's pseudonyms are made with, beside its lines: to find a unit's again."""
        key, before = Key(release, salt, time.time()), self._keys.get(target)
        if before is not None and (before.release, before.salt) == (release, salt):
            return
        file = self.salts.get(target)
        if file is None:
            file = self.salts[target] = self._salts_of(target)
        if before is not None:  # its lines go on to this moment: their age counts from now
            file.put(before._replace(at=key.at), _LINE_BYTES)
        self._keys[target] = key
        file.put(key, _LINE_BYTES)

    def flush(self) -> None:
        """Wait until what is queued is written; not for the event loop."""
        self._writer.flush()

    def keeps_bodies(self, target: str) -> bool:
        """Is there anything of the target's answers that a judge could score?"""
        return allowed(self._capture, target).keeps_bodies

    def log(self, entry: Entry) -> None:
        if not self._capture.traffic_log:
            return
        file = self.logs.get(entry.target)
        if file is None:
            file = self.logs[entry.target] = self._log_of(entry.target)
        file.put(entry, _LINE_BYTES)

    def spool(self, target: str) -> LossyFile[SpoolRecord]:
        file = self.spools.get(target)
        if file is None:
            file = self.spools[target] = self._spool_of(target)
        return file

    def log_answer(self, record: LogRecord, size_bytes: int) -> None:
        """Only where `keeps_answers`; `size_bytes` is what the waiting line holds."""
        target = record.facts.target
        file = self.answers.get(target)
        if file is None:
            file = self.answers[target] = self._answers_of(target)
        file.put(record, size_bytes)

    def _answers_of(self, target: str) -> LossyFile[LogRecord]:
        capture = self._capture
        return self._writer.add(
            LossyFile(
                self._directory / f"answers-{target}{self._suffix}.jsonl",
                encode=partial(encode_answer, allowed=allowed(capture, target)),
                lines_max=capture.traffic_log_lines,
                pending_bytes_max=capture.spool_pending_bytes,
                file_bytes_max=capture.spool_bytes,
            )
        )

    def _salts_of(self, target: str) -> LossyFile[Key]:
        return self._writer.add(
            LossyFile(
                self._directory / f"{SALTS}-{target}{self._suffix}.jsonl",
                encode=_key_line,
                lines_max=_KEYS_MAX,
                pending_bytes_max=_KEYS_MAX * _LINE_BYTES,
                file_bytes_max=self._capture.traffic_log_bytes,
            )
        )

    def _log_of(self, target: str) -> LossyFile[Entry]:
        capture = self._capture
        return self._writer.add(
            LossyFile(
                self._directory / f"traffic-{target}{self._suffix}.jsonl",
                encode=encode,
                lines_max=capture.traffic_log_lines,
                pending_bytes_max=capture.traffic_log_lines * _LINE_BYTES,
                file_bytes_max=capture.traffic_log_bytes,
            )
        )

    def _spool_of(self, target: str) -> LossyFile[SpoolRecord]:
        capture = self._capture
        return self._writer.add(
            LossyFile(
                self._directory / f"spool-{target}.jsonl",
                encode=partial(encode_for_judge, allowed=allowed(capture, target)),
                first_line=lambda: first_line(target, time.time()),
                lines_max=capture.traffic_log_lines,
                pending_bytes_max=capture.spool_pending_bytes,
                file_bytes_max=capture.spool_bytes,
            )
        )


def _key_line(key: Key) -> bytes:
    return orjson.dumps(key._asdict())
