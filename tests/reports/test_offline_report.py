"""What `rampway eval` shows: on a screen, in a comment, on a page, as JUnit and as annotations."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from offline_reports import (
    ALL,
    CASES,
    HOSTILE,
    HUGE,
    better,
    hostile,
    incomparable,
    no_data,
    paired,
    report_of,
    unclear,
    worse,
    worse_in_one_slice,
)

from rampway.gates.evidence import Column
from rampway.gates.plans import OfflinePlan, SliceMode, SlicesPlan
from rampway.gates.verdicts import Verdict
from rampway.reports.annotations import Level, offline_annotations
from rampway.reports.junit import SLICES_MAX, offline_junit
from rampway.reports.offline import Changed, OfflineReport
from rampway.reports.offline_markdown import marker, offline_comment
from rampway.reports.offline_page import offline_html
from rampway.reports.offline_words import eval_text, slices_text

NAMES = sorted(ALL)
VOID = {"meta", "br", "hr"}


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def suite_of(report: OfflineReport) -> ET.Element:
    root = ET.fromstring(offline_junit(report))  # noqa: S314 - our own document
    suites = root.findall("testsuite")
    assert root.tag == "testsuites"
    assert len(suites) == 1
    return suites[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_answers_and_no_line_is_wider_than_the_screen(name: str) -> None:
    report = ALL[name]()

    lines = eval_text(report, examples=3).splitlines()

    assert lines[0].startswith(f"{report.verdict.verdict}: ")
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)


def test_a_candidate_that_is_better_on_average_is_told_where_it_is_worse() -> None:
    lines = eval_text(worse_in_one_slice(), examples=0).splitlines()

    assert lines[0].startswith("BREACH: worse in 1 of 8 slices: past simple -4.7 pp (n 600);")
    assert lines[0].endswith("overall +4.5 pp [+3.4, +5.7]")
    assert lines[1].startswith("headline  PASS    improved 218, regressed 82; 3,000 cases")
    assert lines[2].startswith("slices    BREACH  1 of 8 after Holm: past simple -4.7 pp (n 600)")
    assert lines[2].endswith("; literal 2 sigma: 1")
    assert lines[-1] == "Next: mend the candidate."


def test_a_lone_slice_beyond_the_plain_rule_is_named_though_it_decides_nothing() -> None:
    report = report_of(paired({"past simple": 0.03}, gained=0.1))
    slices = report.verdict.slices
    assert slices is not None
    assert (slices.worse, slices.beyond_sigma) == (0, 1)

    told = eval_text(report, examples=0)

    named = r"slices    PASS  0 of 8 after Holm; literal 2 sigma: past simple -\d\.\d pp \(n 600\)"
    assert re.search(named, told)


def test_values_that_two_columns_share_are_told_with_their_column() -> None:
    cases = paired({"past simple": 0.3})
    shared = cases.slices["tense"].model_copy(
        update={"values": ["she", "past simple", "future", "you", "I"]}
    )
    report = report_of(cases.model_copy(update={"slices": cases.slices | {"tense": shared}}))

    assert ": past simple " in eval_text(report, examples=0)
    assert "tense she" not in eval_text(report, examples=0)
    assert "tense: she" in offline_comment(report, 0)


def test_a_cluster_is_called_by_its_column() -> None:
    cases = paired(gained=0.3)
    verbs = Column(values=[f"v{i}" for i in range(100)], codes=[i % 100 for i in range(CASES)])
    plan = OfflinePlan(clustered=True)
    report = replace(report_of(cases.model_copy(update={"clusters": verbs}), plan), cluster="verb")

    assert "3,000 cases, 100 verb clusters" in eval_text(report, examples=0)
    assert "clusters" not in eval_text(better(), examples=0)


def test_the_plain_rule_speaks_only_where_the_mode_asks_for_it() -> None:
    quiet = worse()
    loud = replace(quiet, mode=SliceMode.LITERAL)

    assert "would have blocked" not in eval_text(quiet, examples=0)
    told = eval_text(loud, examples=0)
    assert "literal   headline: an unpaired z-test at p < 0.05 would have blocked" in told
    assert "literal   slices: every slice at 2 sigma would have blocked: past simple" in told
    assert "every slice at 2 sigma would have blocked" in offline_comment(loud, 0)
    assert "every slice at 2 sigma would have blocked" in offline_html(loud, 0)


def test_examples_show_each_kind_of_change_with_both_answers() -> None:
    report = worse()

    told = eval_text(report, examples=2)

    assert [len(cases) for cases in report.examples(2).values()] == [2, 2, 1]
    assert list(report.examples(2)) == list(Changed)
    assert told.count("regressed  verb-") == 2
    assert told.count("improved  verb-") == 2
    assert "reworded  verb-reworded (tense past simple): 1 to 1" in told
    assert "  baseline  walked\n  candidate walkt" in told


def test_slices_of_a_record_are_a_table_worst_first() -> None:
    slices = worse().verdict.slices
    assert slices is not None

    lines = slices_text(slices).splitlines()

    assert lines[0].split()[:2] == ["slice", "verdict"]
    assert lines[0].endswith("sigma")
    assert lines[1].startswith("tense: past simple")
    assert len(lines) == 9
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_a_comment_is_found_again_and_fits_github(name: str) -> None:
    body = offline_comment(ALL[name](), examples=1000)

    assert re.match(r"<!-- rampway:[A-Za-z0-9_.-]+ -->\n\n\*\*Offline gate [A-Z_]+: ", body)
    assert body.count("<!--") == 1
    assert len(body.encode()) < 64_000
    assert body.count("<details>") == body.count("</details>")


def test_a_comment_has_the_gates_ten_worst_slices_and_the_disagreements() -> None:
    report = worse()

    body = offline_comment(report, examples=5)

    assert body.startswith(f"{marker('grammar-tutor')}\n\n**Offline gate BREACH: the candidate")
    assert "| headline | BREACH | improved 32, regressed 199; 3,000 cases |" in body
    assert "| tense: past simple | BREACH | 600 |" in body
    assert "<details><summary>Disagreements: 32 improved, 199 regressed, 1 reworded" in body
    assert body.count("| verb-") == 11
    assert report.fingerprints.candidate in body


def test_ten_slices_are_in_a_comment_and_the_rest_is_counted() -> None:
    values = [f"kind {i}" for i in range(30)]
    cases = paired()
    kinds = Column(values=values, codes=[i % 30 for i in range(CASES)])

    body = offline_comment(report_of(cases.model_copy(update={"slices": {"kind": kinds}})), 0)

    assert body.count("| kind: kind ") == 10
    assert "20 more slices, less likely to be worse." in body


def test_hostile_words_are_no_markup_in_a_comment() -> None:
    body = offline_comment(hostile(), examples=50)

    text = re.sub(r"</?(details|summary)>", "", body)
    assert not re.search(r"<[a-zA-Z/]", text)
    assert "@everyone" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "##[" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {4, 8, 10}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_and_runs_and_loads_nothing(name: str) -> None:
    html = offline_html(ALL[name](), examples=30)
    reader = read(html)

    loads = {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base", "form"}
    assert not loads & set(reader.tags)
    assert not {one for one in reader.attributes if one.startswith("on")}
    assert not reader.attributes & {"src", "href", "xlink:href"}
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.tags.count("h1") == 1
    assert len(html.encode()) < 2_000_000


def test_a_page_draws_each_column_of_slices_and_shows_what_changed() -> None:
    html = offline_html(worse(), examples=30)

    words = " ".join(" ".join(read(html).text).replace("\u00a0", " ").split())
    order = [
        "BREACH: the candidate is worse.",
        "Difference -5.6 pp",
        "Gates",
        "By tense",
        "past simple -23.7 pp [",
        "By person",
        "5 of 8 slices worse after Holm; 5 beyond 2 sigma",
        "32 improved, 199 regressed, 1 reworded",
        "Regressed",
        "Improved",
        "Reworded",
        "Paired by case_id",
    ]
    places = [words.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_is_green_exactly_when_the_gate_passes(name: str) -> None:
    report = ALL[name]()

    suite = suite_of(report)

    bad = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    assert (bad == 0) is (report.verdict.verdict is Verdict.PASS)


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_has_the_shape_that_ci_servers_read(name: str) -> None:
    suite = suite_of(ALL[name]())

    cases = suite.findall("testcase")
    children = [[child.tag for child in case] for case in cases]
    counted = {
        "tests": len(cases),
        "failures": children.count(["failure"]),
        "errors": children.count(["error"]),
        "skipped": children.count(["skipped"]),
    }
    assert {name: int(suite.attrib[name]) for name in counted} == counted
    assert suite.attrib.keys() == {"name", *counted}
    assert [child.tag for child in suite] == ["properties"] + ["testcase"] * len(cases)
    assert all(case.attrib.keys() == {"classname", "name"} for case in cases)
    assert all(tags in (["failure"], ["error"], ["skipped"], ["system-out"]) for tags in children)
    assert all("type" in bad.attrib for tag in ("failure", "error") for bad in suite.iter(tag))


def test_every_gate_and_every_slice_is_a_case() -> None:
    report = worse_in_one_slice()

    cases = {case.attrib["name"]: case for case in suite_of(report).findall("testcase")}

    assert set(cases) >= {"headline", "slices", "tense: past simple", "person: I"}
    assert len(cases) == 10
    failure = cases["tense: past simple"].find("failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("BREACH: -4.7 pp [")
    assert cases["headline"].find("system-out") is not None


def test_a_slice_too_small_to_tell_is_skipped_and_a_headline_that_cannot_tell_is_an_error() -> None:
    report = unclear()
    codes = [0] * 3 + [1] * (CASES - 3)
    few = Column(values=["rare", "common"], codes=codes)
    small = report_of(
        paired(gained=0.3).model_copy(update={"slices": {"kind": few}}),
        OfflinePlan(slices=SlicesPlan(by=("kind",))),
    )

    told = {case.attrib["name"]: case for case in suite_of(small).findall("testcase")}
    assert told["kind: rare"].find("skipped") is not None
    headline = suite_of(report).find("testcase[@name='headline']/error")
    assert headline is not None
    assert headline.attrib["type"] == "INCONCLUSIVE"


def test_what_was_not_compared_is_an_error_of_its_own() -> None:
    for report, word in ((incomparable(), "INCOMPARABLE"), (no_data(), "NO_DATA")):
        error = suite_of(report).find("testcase[@name='headline']/error")

        assert error is not None
        assert error.attrib["type"] == word


def test_a_suite_of_very_many_slices_is_bounded_and_says_so() -> None:
    verdict = worse().verdict
    slices = verdict.slices
    assert slices is not None
    many = tuple(slices.slices[-1].model_copy(update={"value": f"v{i}"}) for i in range(5000))
    grown = verdict.model_copy(update={"slices": slices.model_copy(update={"slices": many})})

    suite = suite_of(replace(worse(), verdict=grown))

    assert len(suite.findall("testcase")) == SLICES_MAX + 2
    left_out = suite.find("properties/property[@name='slices_left_out']")
    assert left_out is not None
    assert left_out.attrib["value"] == "3000"


def test_hostile_words_stay_words_in_xml() -> None:
    text = offline_junit(hostile())

    assert len(text.encode()) < 1_000_000
    assert "\x1b" not in text
    assert "<script" not in text
    assert any("<script>" in case.attrib["name"] for case in ET.fromstring(text).iter("testcase"))  # noqa: S314 - ours


def test_the_worst_slices_are_annotated_as_errors_and_losses_that_do_not_decide_as_warnings() -> (
    None
):
    told = offline_annotations(worse_in_one_slice().verdict)

    assert told[0].level is Level.ERROR
    assert told[0].title == "Offline gate: BREACH in tense: past simple"
    assert told[0].message.startswith("-4.7 pp [")
    assert [one.title for one in told if one.level is Level.ERROR][-1].endswith("slices BREACH")


def test_a_pass_without_a_loss_annotates_nothing() -> None:
    assert offline_annotations(better().verdict) == ()


def test_no_level_has_more_annotations_than_github_shows() -> None:
    lost = {f"kind {i}": 0.4 for i in range(40)}
    cases = paired(lost, tenses=tuple(lost))

    told = offline_annotations(report_of(cases).verdict)

    assert len([one for one in told if one.level is Level.ERROR]) == 10


@pytest.mark.parametrize("name", ["incomparable", "no data", "unsafe", "unclear"])
def test_a_gate_that_does_not_pass_is_annotated(name: str) -> None:
    verdict = ALL[name]().verdict

    told = offline_annotations(verdict)

    assert any(verdict.verdict in f"{one.title} {one.message}" for one in told)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_report_renders_the_same_bytes(name: str) -> None:
    one, two = ALL[name](), ALL[name]()

    assert offline_html(one, 30) == offline_html(two, 30)
    assert offline_junit(one) == offline_junit(two)
    assert offline_comment(one, 5) == offline_comment(two, 5)


def test_hostile_words_are_bounded_on_the_screen() -> None:
    told = eval_text(hostile(), examples=10)

    assert len(told) < 20_000
    assert HOSTILE not in told
    assert HUGE[:1000] not in told
