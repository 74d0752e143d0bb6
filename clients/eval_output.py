"""What `rampway eval` hands out: a screen, JSON, a comment, a page or JUnit, and facts for GitHub."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path

import orjson

from clients.ci import annotate, disarmed, is_github, write_outputs, write_summary
from clients.evals import Weighed
from clients.exits import Failure
from rampway.reports.annotations import offline_annotations
from rampway.reports.junit import offline_junit
from rampway.reports.offline_markdown import offline_comment
from rampway.reports.offline_page import offline_html
from rampway.reports.offline_words import eval_text

COMMENT_EXAMPLES = 5  # of each kind, where nobody said how many
PAGE_EXAMPLES = 30


class EvalForm(StrEnum):
    """How a verdict is written."""

    TABLE = "table"
    JSON = "json"
    MD = "md"
    HTML = "html"
    JUNIT = "junit"


SUFFIXES = {
    ".txt": EvalForm.TABLE,
    ".json": EvalForm.JSON,
    ".md": EvalForm.MD,
    ".html": EvalForm.HTML,
    ".xml": EvalForm.JUNIT,
}

# The same text in the document's own spelling, without what a GitHub runner reads as a command.
_BRACKET = {
    EvalForm.JSON: "##\\u005b",
    EvalForm.HTML: "##&#91;",
    EvalForm.JUNIT: "##&#91;",
}


def rendered(weighed: Weighed, form: EvalForm, examples: int | None) -> str:
    """The verdict in one form, ending in a line end."""
    report = weighed.report
    match form:
        case EvalForm.TABLE:
            return eval_text(report, examples or 0) + "\n"
        case EvalForm.JSON:
            return orjson.dumps(_facts(weighed), option=orjson.OPT_INDENT_2).decode() + "\n"
        case EvalForm.MD:
            return offline_comment(report, COMMENT_EXAMPLES if examples is None else examples)
        case EvalForm.HTML:
            return offline_html(report, PAGE_EXAMPLES if examples is None else examples)
        case EvalForm.JUNIT:
            return offline_junit(report)


def for_stdout(text: str, form: EvalForm) -> str:
    """The same document, harmless in the log of a CI job."""
    bracket = _BRACKET.get(form)
    return text.replace("##[", bracket) if bracket else disarmed(text)


def write_file(path: Path, text: str) -> None:
    """Write one file. Raises Failure naming it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as failed:
        raise Failure(f"{path} cannot be written: {failed.strerror}") from failed


def tell_github(weighed: Weighed, examples: int | None, *, on_stderr: bool) -> None:
    """Summary and outputs where a CI job offers files for them; annotations in GitHub Actions."""
    write_summary(rendered(weighed, EvalForm.MD, examples).rstrip("\n"))
    write_outputs({"verdict": weighed.verdict.verdict.value, "exit": str(int(weighed.code))})
    if is_github():
        for one in offline_annotations(weighed.verdict):
            annotate(one.level.value, one.title, one.message, on_stderr=on_stderr)


def _facts(weighed: Weighed) -> dict[str, object]:
    """The verdict's own fields, and what belongs to it."""
    differs, evals = weighed.differs, weighed.evals
    return {
        **weighed.verdict.model_dump(mode="json"),
        "name": weighed.report.name,
        "exit_code": int(weighed.code),
        "recorded": weighed.recorded,
        "rerun": weighed.rerun.value if weighed.rerun else None,
        "differs": differs
        and {
            "field": differs.field,
            "baseline": differs.baseline,
            "candidate": differs.candidate,
        },
        "fingerprints": asdict(weighed.report.fingerprints),
        "plan": weighed.report.plan.model_dump(mode="json"),
        "mode": weighed.report.mode.value,
        "totals": {arm.value: asdict(total) for arm, total in evals.totals.items()}
        if evals
        else None,
        "missing": evals.cases.missing if evals else None,
        "disagreements": [case.model_dump(mode="json") for case in weighed.report.disagreements],
        "next": weighed.report.next_step,
    }
