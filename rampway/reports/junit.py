"""The offline gate as JUnit XML: one test case per gate and per slice, read by every CI.

The shape is that of the Jenkins xUnit plugin's `junit-10.xsd`, which leaves times out where there are
none. A suite has no failure and no error exactly when the verdict is PASS.
"""

from xml.etree import ElementTree as ET

from rampway.gates.verdicts import OfflineSlices, OfflineVerdict, SliceLoss, Verdict
from rampway.reports.offline import OfflineReport
from rampway.reports.offline_words import fingerprint_rows
from rampway.reports.slice_words import slice_numbers, slice_title
from rampway.reports.texts import offline_answer, offline_rows
from rampway.reports.words import plain

SLICES_MAX = 2_000  # worst first: what is left out is less likely to be worse
_CLASS = "rampway.offline"
_OUTCOMES = {
    Verdict.BREACH: "failure",
    Verdict.INCOMPARABLE: "error",
    Verdict.NO_DATA: "error",
    Verdict.INCONCLUSIVE: "error",
}


def offline_junit(report: OfflineReport) -> str:
    """One document. A gate that cannot tell is an error, a slice that cannot tell is skipped."""
    suite = ET.Element("testsuite", name=plain(f"rampway {report.name}", 200))
    _properties(suite, report)
    verdict = report.verdict
    rows = offline_rows(verdict, report.cluster)
    if verdict.headline is None:
        # What was not weighed must not look like a green suite.
        _case(suite, "headline", *_not_weighed(verdict))
    for gate, word, numbers in rows:
        _case(suite, gate, Verdict(word), numbers)
    if verdict.slices is not None:
        for slice_ in verdict.slices.slices[:SLICES_MAX]:
            _slice_case(suite, slice_)
    _count(suite)
    root = ET.Element("testsuites", {**suite.attrib, "name": plain(offline_answer(verdict), 500)})
    del root.attrib["skipped"]  # known to a suite, not to the root
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _properties(suite: ET.Element, report: OfflineReport) -> None:
    properties = ET.SubElement(suite, "properties")
    left_out = _left_out(report.verdict.slices)
    for label, value in [*fingerprint_rows(report), *left_out]:
        ET.SubElement(properties, "property", name=label.lower().replace(" ", "_"), value=value)


def _left_out(slices: OfflineSlices | None) -> list[tuple[str, str]]:
    left = len(slices.slices) - SLICES_MAX if slices else 0
    return [("Slices left out", str(left))] if left > 0 else []


def _not_weighed(verdict: OfflineVerdict) -> tuple[Verdict, str]:
    if verdict.verdict is Verdict.BREACH:  # that of safety, which has a case of its own
        return Verdict.NO_DATA, "the cases could not be compared"
    return verdict.verdict, plain(verdict.why, 2000)


def _case(suite: ET.Element, gate: str, verdict: Verdict, numbers: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=_CLASS, name=gate)
    _outcome(case, verdict, numbers)


def _slice_case(suite: ET.Element, slice_: SliceLoss) -> None:
    title, numbers = slice_title(slice_, 200), slice_numbers(slice_)
    case = ET.SubElement(suite, "testcase", classname=f"{_CLASS}.slices", name=title)
    if slice_.verdict is Verdict.INCONCLUSIVE:
        # It blocks nothing, so it may not make the build red.
        ET.SubElement(case, "skipped", message=f"INCONCLUSIVE: {numbers}")
    else:
        _outcome(case, slice_.verdict, numbers)


def _outcome(case: ET.Element, verdict: Verdict, numbers: str) -> None:
    outcome = _OUTCOMES.get(verdict)
    if outcome is None:
        ET.SubElement(case, "system-out").text = numbers
    else:
        told = ET.SubElement(case, outcome, type=verdict.value, message=f"{verdict}: {numbers}")
        told.text = numbers


def _count(suite: ET.Element) -> None:
    suite.attrib.update(
        tests=str(len(suite.findall("testcase"))),
        failures=str(len(suite.findall("testcase/failure"))),
        errors=str(len(suite.findall("testcase/error"))),
        skipped=str(len(suite.findall("testcase/skipped"))),
    )
