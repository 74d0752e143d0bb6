import re
from collections.abc import Iterator
from datetime import UTC
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from kept_dossiers import BERLIN, ENDINGS, dossier, kept, page

from rampway.gates.evidence import Evidence
from rampway.gates.facts import canonical, digest_of_bytes
from rampway.gates.verdicts import GateVerdict, Verdict
from rampway.release.events import EventKind
from rampway.release.phases import Trigger
from rampway.release.records import Record, TargetKind
from rampway.reports.dossier import assemble
from rampway.reports.page import release_html
from rampway.reports.paths import CARD, LOOKS_MAX, Look, looks_of, path_figure
from rampway.reports.shares import Passed, spans
from support.record_builders import (
    Teller,
    aborted,
    header_of,
    rolled_back_by_error,
    target_of,
)

VOID = {"meta", "br", "link", "img", "input", "hr"}
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
SECTIONS = ["Left to do", "Share of traffic over time", "Every decision", "Offline gate", "Record"]


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in order; keeps elements and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.svg_children: list[set[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if self.open and self.open[-1] == "svg":
            self.svg_children[-1].add(tag)
        if tag == "svg":
            self.svg_children.append(set())
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def shown(html: str) -> str:
    """The page's words in order, with plain spaces."""
    return " ".join(" ".join(read(html).text).replace("\u00a0", " ").split())


@pytest.mark.parametrize("name", ENDINGS)
def test_every_page_is_well_formed_and_complete(name: str) -> None:
    reader = read(page(name))

    headings = " ".join(reader.text)
    places = [headings.index(section) for section in SECTIONS]
    assert places == sorted(places)
    assert sum(1 for tag, _ in reader.elements if tag == "h1") == 1
    assert sum(1 for tag, _ in reader.elements if tag == "dt") >= 5


@pytest.mark.parametrize("name", ENDINGS)
def test_no_page_runs_or_loads_anything(name: str) -> None:
    reader = read(page(name))

    loads = {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base", "form"}
    attributes = {a for _, attrs in reader.elements for a in attrs}
    assert not loads & {tag for tag, _ in reader.elements}
    assert not {a for a in attributes if a.startswith("on")} | attributes & {"src", "xlink:href"}
    assert "@import" not in page(name)
    assert "url(" not in page(name)


@pytest.mark.parametrize("name", ENDINGS)
def test_every_drawing_has_its_text_and_its_own_ids(name: str) -> None:
    reader = read(page(name))

    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert reader.svg_children
    assert all({"title", "desc"} <= children for children in reader.svg_children)
    assert len(ids) == len(set(ids))


def test_the_page_answers_first_then_says_what_is_left() -> None:
    words = shown(page("rolled_back_by_error"))

    order = [
        "It rolled back because the candidate failed 3.1 % of its requests, the baseline 0.9 %.",
        "At CANARY 5 % the candidate had 20 errors in 650 requests, the baseline 114 in 12,350",
        "Nothing on traffic: all of it is on the baseline since 02:57:32, confirmed by 3 of 3",
        "Before, the same gate had seen 10 of 900 (1.11 %) at CANARY 1 %.",
        "Detected 4 min 20 s",
        "Share at zero 0.9 s",
        "Exposed 1,550",
        "Harm it cost 13 errors",
        "raised to 5 %",
        "expected 7.3",
        "BREACH at 20",
        "The other gates at that moment",
        "BREACH at 65",
        "Every decision",
        "PASS: better by +1.9 pp",
        "People",
        "events, unbroken to",
    ]
    places = [words.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("promoted", {"PASS"}),
        ("rolled_back_by_error", {"PASS", "BREACH", "INCONCLUSIVE"}),
        ("rejected_offline", {"BREACH"}),
        ("overridden", {"PASS", "INCONCLUSIVE"}),
    ],
)
def test_verdicts_are_written_out_beside_their_colour(name: str, verdicts: set[str]) -> None:
    chips = re.findall(r'<span class="chip ([A-Z_]+)">([A-Z_]+)</span>', page(name))

    assert {word for _, word in chips} == verdicts
    assert all(style == word for style, word in chips)


def test_a_hostile_owner_reason_or_link_stays_text() -> None:
    links = {HOSTILE: "javascript:alert(1)", "Change": 'https://x.example/"><script>'}
    teller = Teller(header_of(owner=HOSTILE, links=links)).start().shadow()
    teller.step = "shadow"
    teller.roll_back(Trigger.ABORT, f"aborted by {HOSTILE}: {HOSTILE}", actor=HOSTILE)

    html = release_html(assemble(teller.kept().record, teller.kept().blobs), UTC)

    reader = read(html)
    assert not {"script", "img"} & {tag for tag, _ in reader.elements}
    assert not any(a.startswith("on") for _, attrs in reader.elements for a in attrs)
    addresses = [attrs["href"] for tag, attrs in reader.elements if tag == "a"]
    assert addresses == ['https://x.example/"><script>']
    assert "alert(1)" in " ".join(reader.text)


def test_a_demo_page_says_demo_at_once() -> None:
    release = rolled_back_by_error(target_of(TargetKind.DEMO))

    words = shown(release_html(assemble(release.record, release.blobs), BERLIN))

    assert words.startswith(f"DEMO {release.record.header.name}: ROLLED_BACK")
    assert "DEMO target: its holds and exposures are below the floor of a real target." in words
    assert "DEMO" not in page("rolled_back_by_error")


@pytest.mark.parametrize("name", ENDINGS)
def test_a_page_without_any_blob_says_what_is_missing(name: str) -> None:
    html = release_html(assemble(kept(name).record, {}), UTC)

    words = shown(html)
    assert "is not in the record" in words
    assert kept(name).record.header.name in words


def test_exposure_that_nobody_counted_is_never_told_as_none() -> None:
    without_blobs = shown(release_html(assemble(kept("aborted").record, {}), UTC))

    assert "Exposed not recorded candidate units: uncounted at 1 %" in without_blobs
    assert (
        "Exposed 5,550 and more candidate requests: 900 at 1 %, 4,650 at 5 %, uncounted at 25 %"
        in (shown(page("aborted")))
    )
    assert "Exposed 0 nobody was answered by the candidate" in shown(page("rolled_back_in_shadow"))


def test_a_breach_stays_a_breach_when_its_verdict_is_lost() -> None:
    html = release_html(assemble(kept("rolled_back_by_error").record, {}), UTC)

    assert '<section class="card hero BREACH">' in html
    assert "The path cannot be drawn: " in html


def test_a_gate_without_a_boundary_is_told_in_words() -> None:
    words = shown(page("rolled_back_in_shadow"))

    assert "0 of 350 copies came back without a pair of scores" in words
    assert "expected 0.0" not in words


def test_a_boundary_that_cannot_be_reached_for_a_while_is_interrupted() -> None:
    gates = [
        GateVerdict(gate="error", verdict=Verdict.INCONCLUSIVE, breach_at=at, alpha=0.01)
        for at in (None, 4, 5, None, 6)
    ]
    looks = [Look(10.0 * (i + 1), gate) for i, gate in enumerate(gates)]

    figure = path_figure(looks, CARD, key="x", step="5 %")

    assert figure.count('class="boundary"') == 2
    assert figure.count('class="region"') == 2


def test_the_parts_of_a_release_are_told_by_how_they_ended() -> None:
    told = {span.label: span.passed for span in spans(dossier("rolled_back_by_error"))}

    assert told["SHADOW"] is Passed.PASSED
    assert told["1 %"] is Passed.PASSED
    assert told["5 %"] is Passed.BREACHED
    assert told["ROLLED_BACK"] is Passed.QUIET
    assert {s.passed for s in spans(dossier("aborted")) if s.label == "25 %"} == {Passed.STOPPED}
    assert {s.passed for s in spans(dossier("running_paused")) if s.label == "1 %"} == {Passed.OPEN}


def test_a_record_without_events_still_has_a_page() -> None:
    header = kept("promoted").record.header

    words = shown(release_html(assemble(Record(header=header, events=()), {}), UTC))

    assert "It has not begun." in words
    assert "No gate has been weighed." in words


def test_a_changed_event_is_what_the_page_says_first() -> None:
    record = kept("aborted").record
    events = list(record.events)
    events[6] = events[6].model_copy(update={"reason": "PASS after all"})
    changed = record.model_copy(update={"events": tuple(events)})

    words = shown(release_html(assemble(changed, kept("aborted").blobs), UTC))

    assert "Keep this record as it is and run: rampway verify" in words
    assert "Event 7 was changed after it was written; nothing after it can be trusted." in words
    assert "TAMPERED: event 7" in words


def test_counts_that_do_not_give_the_recorded_verdict_are_told() -> None:
    release = rolled_back_by_error()
    pinned = next(e for e in release.record.events if e.kind is EventKind.PINNED)
    assert pinned.evidence is not None
    other = Evidence.model_validate_json(release.blobs[pinned.evidence])
    body = canonical(
        other.model_copy(update={"sealed": dict.fromkeys(other.sealed, 9)}).model_dump()
    )
    events = [
        e.model_copy(update={"evidence": digest_of_bytes(body)}) if e is pinned else e
        for e in release.record.events
    ]
    record = release.record.model_copy(update={"events": tuple(events)})

    told = assemble(record, release.blobs | {digest_of_bytes(body): body})

    assert "weighed again, do not give the recorded verdict" in shown(release_html(told, UTC))


def test_the_path_ends_at_the_recorded_verdict() -> None:
    decision = dossier("rolled_back_by_error").deciding
    assert decision is not None

    looks = looks_of(decision)

    assert looks is not None
    assert looks.agrees
    path = looks.of("error")
    assert [look.seconds for look in path] == [10.0 * (i + 1) for i in range(26)]
    assert path[-1].gate.verdict is Verdict.BREACH
    assert all(look.gate.verdict is Verdict.INCONCLUSIVE for look in path[:-1])


def test_a_long_hold_is_thinned_and_keeps_its_last_slice() -> None:
    decision = dossier("promoted").last_of("25 %")
    assert decision is not None

    looks = looks_of(decision)

    assert looks is not None
    assert len(looks.stages) == LOOKS_MAX
    assert looks.stages[-1][0] == 1800
    assert looks.agrees


def test_the_hold_of_a_stopped_step_is_weighed_only_to_its_stop() -> None:
    decision = dossier("stranded").deciding
    assert decision is not None
    assert isinstance(decision.evidence, Evidence)

    looks = looks_of(decision)

    # 10 minutes of evidence are stored, the crossing is in the second slice.
    assert looks is not None
    assert [look.seconds for look in looks.of("error")] == [10, 20]


def test_an_abort_is_not_painted_as_a_breach() -> None:
    html = page("aborted")

    assert '<section class="card hero INCONCLUSIVE">' in html
    assert "chip BREACH" not in html


def test_a_reason_without_words_leaves_no_empty_quotes() -> None:
    release = aborted(reason="")

    assert '""' not in shown(release_html(assemble(release.record, release.blobs), UTC))


def test_text_is_readable_on_its_ground_in_light_dark_and_print() -> None:
    pairs = [
        *[("ink", ground) for ground in ("page", "card", "grey-bg")],
        *[("soft", ground) for ground in ("page", "card", "grey-bg", "candidate-bg")],
        *[(c, "card") for c in ("pass", "breach", "warn", "grey", "candidate")],
        *[("candidate", "page"), ("breach", "breach-bg"), ("pass", "pass-bg")],
        *[("warn", "warn-bg"), ("grey", "grey-bg"), ("candidate", "candidate-bg")],
    ]

    for name, palette in palettes():
        for text, ground in pairs:
            assert contrast(palette[text], palette[ground]) >= 4.5, (name, text, ground)


def palettes() -> Iterator[tuple[str, dict[str, str]]]:
    css = (files("rampway.reports") / "templates" / "release.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    assert len(blocks) == 3
    for name, block in zip(("light", "dark", "print"), blocks, strict=True):
        yield name, dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """WCAG 2.2 relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
