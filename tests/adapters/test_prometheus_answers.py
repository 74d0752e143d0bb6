"""Whatever Prometheus answers: rows that were told, or Unreachable; never a number that was invented."""

import asyncio
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from scripted_prometheus import (
    GATEWAY,
    NOW,
    PREFIX,
    STEP,
    Stub,
    history,
    source,
    stage,
    stub,
    success,
)

from rampway.adapters.evidence_prometheus import Access, Limits, Prometheus, PrometheusEvidence
from rampway.adapters.evidence_prometheus.samples import (
    read_clocks,
    read_scrapes,
    read_series,
    selector,
)
from rampway.adapters.evidence_prometheus.timelines import SegmentTimeline, Stream, blocks
from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import (
    QualityGate,
    ShadowPlan,
    StagePlan,
)
from rampway.gates.slices import COUNT_MAX
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh
from rampway.ports import Unreachable

NUMBERS = st.one_of(
    st.sampled_from(
        ["NaN", "+Inf", "-Inf", "-1", "1.5", "1e300", "", "0x10", "٣", "1_0", " 7", "٣.0"]
    ),
    st.integers(0, 5).map(str),
    st.integers(0, 10**30).map(str),
    st.floats().map(str),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


async def told(result: object, **more: object) -> Evidence:
    body = success(result, **more)
    with stub(lambda handler: handler.send(body)) as (url, _):
        return await stage(source(url))


async def test_a_whole_answer_is_rows_that_pass() -> None:
    evidence = await told(history(scrapes=6))

    assert evidence.rows["error"] == [[i, 10, 1, 10, 1] for i in range(6)]
    assert evidence.rows["latency_p95"] == [[i, 10, 0, 10, 0] for i in range(6)]
    assert set(evidence.sealed.values()) == {6}
    assert weigh(STEP, evidence).gates[0].verdict is Verdict.PASS


def half(handler: Stub) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(success(history()))


REFUSED: dict[str, tuple[Callable[[Stub], None], str]] = {
    "down": (lambda handler: handler.send(b"busy", 503), "answered 503: busy"),
    "forbidden": (lambda handler: handler.send(b"no", 401), "answered 401"),
    "overloaded": (
        lambda handler: handler.send(b'{"status":"error","error":"too many samples"}', 422),
        "too many samples",
    ),
    "redirected": (
        lambda handler: handler.send(b"", 302, Location="http://127.0.0.1:1/"),
        "answered 302",
    ),
    "an error inside a 200": (
        lambda handler: handler.send(b'{"status":"error","data":{"resultType":"matrix"}}'),
        "status 'error'",
    ),
    "warnings": (
        lambda handler: handler.send(success(history(), warnings=["store unreachable"])),
        "answered with warnings: .*store unreachable",
    ),
    "infos": (
        lambda handler: handler.send(success(history(), infos=["PromQL info: limited"])),
        "answered with infos",
    ),
    "cut off": (lambda handler: handler.send(success(history())[:-40]), "is no JSON"),
    "a page": (lambda handler: handler.send(b"<html>Log in</html>"), "is no JSON"),
    "NaN as a number": (
        lambda handler: handler.send(success([]).replace(b"[]", b"[NaN]")),
        "is no JSON",
    ),
    "deep": (lambda handler: handler.send(b"[" * 100_000), "is no JSON"),
    "averages": (
        lambda handler: handler.send(
            b'{"status":"success","data":{"resultType":"vector","result":[]}}'
        ),
        "something else than raw samples",
    ),
    "nothing": (lambda handler: handler.send(success([])), "has no sample of tutor"),
    "packed": (
        lambda handler: handler.send(success(history()), Content_Encoding="gzip"),
        "packed",
    ),
    "shorter than announced": (half, "does not answer"),
    "hanging up": (lambda handler: handler.connection.close(), "does not answer"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_an_answer_that_is_not_whole_and_certain_is_refused(case: str) -> None:
    reply, why = REFUSED[case]

    with stub(reply) as (url, _), pytest.raises(Unreachable, match=why):
        await stage(source(url))


async def test_nobody_there_is_unreachable_with_the_next_step() -> None:
    with pytest.raises(Unreachable, match=r"does not answer .*rampway doctor"):
        await stage(source("http://127.0.0.1:1"))


async def test_an_answer_that_trickles_is_given_up_in_time() -> None:
    over = threading.Event()

    def trickle(handler: Stub) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b" ")

    def quietly(handler: Stub) -> None:
        try:
            trickle(handler)
        except OSError:
            return

    with stub(quietly) as (url, _):
        try:
            with pytest.raises(Unreachable, match=r"longer than 0.3 s"):
                await asyncio.wait_for(stage(source(url, answer_seconds=0.3)), 5)
        finally:
            over.set()


async def test_a_redirect_is_not_followed_with_the_password(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("rotated-1\n")
    with (
        stub(lambda handler: handler.send(success(history()))) as (elsewhere, stolen),
        stub(lambda handler: handler.send(b"", 307, Location=elsewhere)) as (url, heard),
        pytest.raises(Unreachable),
    ):
        await stage(source(url, token_file=tmp_path / "token"))

    assert heard[0]["Authorization"] == "Bearer rotated-1"
    assert stolen == []


async def test_a_token_file_is_read_for_each_question(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with stub(lambda handler: handler.send(success(history()))) as (url, heard):
        evidence = source(url, token_file=token)
        with pytest.raises(Unreachable, match="cannot be read"):
            await stage(evidence)
        token.write_text("one\n")
        await stage(evidence)
        token.write_text("two\n")
        await stage(evidence)

    assert [each["Authorization"] for each in heard] == ["Bearer one"] * 2 + ["Bearer two"]


async def test_a_password_is_sent_as_basic_and_the_environments_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password stolen\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with stub(lambda handler: handler.send(success(history()))) as (url, heard):
        await stage(source(url))
        await stage(source(url, user="me", password=SecretStr("secret")))

    assert "Authorization" not in heard[0]
    assert heard[-1]["Authorization"] == "Basic bWU6c2VjcmV0"


async def test_only_what_is_new_is_asked_again() -> None:
    with stub(lambda handler: handler.send(success(history(scrapes=6)))) as (url, heard):
        evidence = source(url)
        first = await stage(evidence)
        again = await stage(evidence)

    assert again == first
    asked = [each["path"].rpartition("%5B")[2].partition("ms")[0] for each in heard]
    assert [int(ms) for ms in asked] == [110_000, 126_000, 61_000]


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (NOW - 26, "is 26.0 s old, the limit is 25 s"),
        (NOW + 6, "is 6.0 s in the future"),
    ],
)
async def test_samples_that_are_not_of_now_are_refused(until: float, why: str) -> None:
    with pytest.raises(Unreachable, match=why):
        await told(history(until=until))


async def test_a_gateway_whose_clock_is_another_is_refused() -> None:
    found = history()
    for sample in found[0]["values"]:
        sample[1] = f"{sample[0] + 7:.3f}"

    with pytest.raises(Unreachable, match=r"7\.0 s ahead of that of Prometheus"):
        await told(found)


async def test_a_gateway_without_a_clock_is_refused() -> None:
    with pytest.raises(Unreachable, match="tells no clock"):
        await told(history()[1:])


async def test_the_same_gateway_scraped_twice_is_refused_and_named() -> None:
    twice = json.loads(json.dumps(history()))
    for one in twice:
        one["metric"]["instance"] = "two:2"

    with pytest.raises(Unreachable, match=r"twice at the same time.*instance=one.*instance=two"):
        await told([*history(), *twice])


async def test_a_gateway_that_got_another_address_goes_on() -> None:
    before, after = history(until=NOW - 20, scrapes=3), history(scrapes=6)
    for one in after:
        one["metric"] = {**one["metric"], "instance": "two:2"}
        one["values"] = one["values"][-2:]

    evidence = await told([*before, *after])

    # Slice 3 has no scrape of its own: it stands in the row of slice 4.
    assert [row[1] for row in evidence.rows["error"]] == [10, 10, 10, 0, 20, 10]  # type: ignore[index]


async def test_two_gateways_are_added_up_slice_by_slice() -> None:
    second = history()
    for one in second:
        one["metric"] = {**one["metric"], "gateway": "b" * 32, "instance": "two:2"}

    evidence = await told([*history(), *second])

    assert evidence.rows["error"] == [[i, 20, 2, 20, 2] for i in range(5)]
    assert evidence.sources == {"gateways": f"{GATEWAY},{'b' * 32}"}


async def test_one_of_two_gateways_that_falls_silent_leaves_no_number() -> None:
    silent = history(until=NOW - 40, scrapes=1)
    for one in silent:
        one["metric"] = {**one["metric"], "gateway": "b" * 32, "instance": "two:2"}

    with pytest.raises(Unreachable, match=r"gateway bbbbbbbbbbbb is 40.0 s old"):
        await told([*history(), *silent])


async def test_gateways_that_cut_other_slices_are_not_added_up() -> None:
    second = history()
    for one in second:
        one["metric"] = {**one["metric"], "gateway": "b" * 32, "instance": "two:2"}
        if one["metric"]["__name__"] == PREFIX + "sealed_slice_seconds":
            one["values"] = [[at, "5"] for at, _ in one["values"]]

    with pytest.raises(Unreachable, match="slices of 10 s and of 5 s"):
        await told([*history(), *second])


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-3", "7.5", "1e16", "x", ""])
@pytest.mark.parametrize("family", ["sealed_units_total", "sealed_bad_total", "sealed_slices"])
async def test_a_value_that_is_no_count_leaves_its_slice_unknown(family: str, value: str) -> None:
    found = history()
    for one in found:
        if one["metric"]["__name__"] == PREFIX + family:
            one["values"][2][1] = value

    evidence = await told(found)

    for name in ("error", "refusal"):
        rows: Any = evidence.rows[name]
        assert [row[1] for row in rows if row[1]] == [10, 10, 20, 10]
        assert [row[0] for row in rows if row[1]] == [0, 1, 3, 4]


async def test_more_lost_slices_than_sealed_ones_are_no_count() -> None:
    found = history()
    for one in found:
        if one["metric"]["__name__"] == PREFIX + "sealed_lost_slices":
            one["values"] = [[at, "99"] for at, _ in one["values"]]

    evidence = await told(found)

    assert evidence.rows["error"] == []
    assert evidence.sealed["error"] == 0


async def test_a_missing_arm_is_no_data() -> None:
    found = [one for one in history() if one["metric"].get("arm") != "candidate"]

    evidence = await told(found)

    assert evidence.rows["error"] == []
    assert weigh(STEP, evidence).verdict is Verdict.NO_DATA


class JudgeSource:
    """Has the judge's streams, or is silent; remembers the plans it was asked about."""

    def __init__(self, *, silent: bool = False) -> None:
        self.asked: list[StagePlan] = []
        self._silent = silent

    async def stage(self, *, target: str, epoch: int, segment: int, plan: StagePlan) -> Evidence:
        self.asked.append(plan)
        if self._silent:
            raise Unreachable("the judge does not answer")
        return Evidence(
            target=target,
            epoch=epoch,
            segment=segment,
            slice_seconds=10,
            sealed={"quality": 1, "judge": 1},
            rows={"quality": [[0, [[1, 5, 5]], 0, 0]], "judge": [[0, [], 0]]},
            sources={"grader": "set_match/1"},
        )

    async def baseline(self, **asked: object) -> BaselineCounts:
        raise AssertionError(asked)


QUALITY = STEP.model_copy(update={"quality": QualityGate(levels=2, alpha=0.01)})
SHADOW = ShadowPlan(
    name="shadow",
    hold_seconds=60,
    deadline_seconds=180,
    slice_seconds=10,
    rate_bp=500,
    pairs=10,
    levels=2,
)


async def judged(plan: StagePlan, judge: JudgeSource) -> Evidence:
    with stub(lambda handler: handler.send(success(history()))) as (url, _):
        evidence = PrometheusEvidence(
            Prometheus(Access(url)), judge, limits=Limits(10), now=lambda: NOW
        )
        return await evidence.stage(target="tutor", epoch=1, segment=3, plan=plan)


async def test_the_judges_streams_stand_beside_the_rates() -> None:
    judge = JudgeSource()

    evidence = await judged(QUALITY, judge)

    assert evidence.rows["quality"] == [[0, [[1, 5, 5]], 0, 0]]
    assert (evidence.sealed["quality"], evidence.sealed["error"]) == (1, 5)
    assert evidence.sources == {"gateways": GATEWAY, "grader": "set_match/1"}
    assert "judge" not in evidence.rows


async def test_a_silent_judge_leaves_its_stream_out_and_the_rates_in_sight() -> None:
    evidence = await judged(QUALITY, JudgeSource(silent=True))

    assert "quality" not in evidence.sealed
    assert evidence.sealed["error"] == 5
    assert evidence.sources["judge"] == "the judge does not answer"


async def test_a_shadow_is_the_judges_alone() -> None:
    judge = JudgeSource()

    evidence = await judged(SHADOW, judge)

    assert evidence.sealed["judge"] == 1
    assert judge.asked == [SHADOW]


@pytest.mark.parametrize("target", ['x"} or vector(0) #', "a|b", "", "é", "x\n", "a" * 201])
def test_a_name_that_could_change_the_question_is_never_asked(target: str) -> None:
    with pytest.raises(ValueError, match="is no target's name"):
        selector(target, latency=True)


@settings(max_examples=300)
@given(JSON)
def test_any_json_is_series_or_unreachable(answer: object) -> None:
    try:
        found = read_series(answer)
        read_scrapes(found)
    except Unreachable:
        return
    for one in found:
        times = [at for at, _ in one.samples]
        assert times == sorted(set(times))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_spoilt_answer_gives_only_counts_that_were_told(data: st.DataObject) -> None:
    found = history(scrapes=data.draw(st.integers(1, 4)))
    for _ in range(data.draw(st.integers(0, 6))):
        _spoil(data, found)

    try:
        scrapes = read_scrapes(read_series(found)).scrapes
        read_clocks(read_series(found))
    except Unreachable:
        return

    timelines: dict[str, SegmentTimeline] = {}
    for (gateway, _), each in scrapes.items():
        timelines[gateway] = SegmentTimeline()
        for scrape in each:
            timelines[gateway].add(scrape, buckets=[100])
    most = max(_told_counts(found), default=0)
    for stream in Stream:
        for block in blocks(list(timelines.values()), stream):
            for count in (block.totals or {}).values():
                assert type(count) is int
                assert 0 <= count <= most * len(timelines)


def _spoil(data: st.DataObject, found: list[dict[str, Any]]) -> None:
    one = data.draw(st.sampled_from(found))
    match data.draw(st.sampled_from(["value", "drop", "label", "time", "json", "series"])):
        case "value" if one["values"]:
            at = data.draw(st.integers(0, len(one["values"]) - 1))
            # JSON may have come there.
            if isinstance(one["values"][at], list) and one["values"][at]:
                one["values"][at] = [one["values"][at][0], data.draw(NUMBERS)]
        case "drop" if one["values"]:
            del one["values"][data.draw(st.integers(0, len(one["values"]) - 1))]
        case "label":
            name = data.draw(st.sampled_from([*one["metric"], "other"]))
            one["metric"] = {**one["metric"], name: data.draw(st.text(max_size=4) | st.none())}
        case "time" if one["values"]:
            one["values"][0] = [data.draw(st.floats() | st.integers() | st.none()), "1"]
        case "json":
            one["values"].append(data.draw(JSON))
        case "series" if len(found) > 1:
            found.remove(one)
        case _:
            pass


def _told_counts(found: list[dict[str, Any]]) -> list[int]:
    values = (sample[1] for one in found for sample in one["values"])
    numbers = (float(value) for value in values if _is_number(value))
    return [min(int(number), COUNT_MAX**2) for number in numbers if math.isfinite(number)]


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
