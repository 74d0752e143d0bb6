import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_dossiers import ENDINGS, dossier, kept

from rampway.release.events import EventKind
from rampway.release.phases import Trigger
from rampway.reports.dossier import assemble
from rampway.reports.markdown import LIMIT_BYTES, bounded, release_markdown
from rampway.reports.texts import markdown_plain
from support.record_builders import Teller, header_of


def test_the_report_begins_with_the_answer() -> None:
    release = dossier("rolled_back_by_error")

    lines = release_markdown(release).splitlines()

    assert lines[0] == f"### {release.name}: ROLLED_BACK: error BREACH at 5 %"
    assert lines[2] == (
        "**It rolled back because the candidate failed 3.1 % of its requests, the baseline 0.9 %.**"
    )
    assert "| error | BREACH | 20 of 650 (3.08 %) | 114 of 12,350 (0.92 %) | 20 |" in lines
    assert lines[-1].endswith(f"Recompute: `rampway verify {release.name}`")


def test_an_offline_rejection_shows_the_eval_table() -> None:
    told = release_markdown(dossier("rejected_offline"))

    assert "| gate | verdict | numbers |" in told
    assert "| headline | BREACH | improved 130, regressed 720; 14,400 cases, 200 clusters |" in told


@pytest.mark.parametrize("name", ENDINGS)
def test_every_ending_has_a_short_report_even_without_blobs(name: str) -> None:
    for blobs in (kept(name).blobs, {}):
        told = release_markdown(assemble(kept(name).record, blobs))

        assert len(told.encode()) < 6000
        assert kept(name).record.header.name in told


def test_a_reason_can_neither_mention_nor_link_nor_break_a_table() -> None:
    reason = "@everyone [x](http://evil.example) | <img src=x>\n| `a` **b**"
    teller = Teller(header_of(owner="@team|x")).start().shadow()
    teller.roll_back(Trigger.ABORT, reason, actor="mallory")

    told = release_markdown(assemble(teller.kept().record, teller.kept().blobs))

    assert "@everyone" not in told
    assert "@team" not in told
    assert "](http" not in told.replace("\\](http", "")
    assert "<img" not in told
    assert all(line.endswith("|") for line in told.splitlines() if line.startswith("|"))


def test_a_report_too_long_for_a_comment_is_cut_between_lines_and_says_so() -> None:
    told = bounded("\n".join(f"line {i} \u00fc" for i in range(20_000)))

    assert len(told.encode()) <= LIMIT_BYTES
    assert told.endswith("Cut here: the whole report is in the HTML file.\n")
    assert told.splitlines()[-3].endswith("\u00fc")


def test_many_decisions_are_bounded() -> None:
    teller = Teller().start()
    plan = teller.raised("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    evidence = teller.counted(plan, 100, 1)
    for _ in range(200):
        teller.tell(EventKind.DECIDED, step="1 %", facts=(plan, evidence, evidence))

    told = release_markdown(assemble(teller.kept().record, {}))

    assert told.count("| CANARY 1 % |") == 30


@given(st.text(max_size=200))
def test_nobodys_words_can_open_html_or_a_new_line(text: str) -> None:
    shown = markdown_plain(text)

    assert "<" not in shown
    assert "\n" not in shown
    assert "@" not in shown.replace("@\u200b", "")
