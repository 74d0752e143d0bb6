"""The log of answers: off by default; one line per request of an open split, with both answers in shadow."""

from aiohttp import web

from support.gateway_process import Heard, data_plane, eventually, true

KEEP = "[capture]\nanswers = true\n"
ASKED = {"case_id": "go.past-simple.1s", "verb": "go"}


async def says_went(_heard: Heard) -> web.StreamResponse:
    return web.json_response({"answer": "went"})


async def fails(_heard: Heard) -> web.StreamResponse:
    return web.json_response({"error": "lost"}, status=500)


async def test_each_request_of_a_split_leaves_one_line_with_what_its_arm_answered() -> None:
    async with data_plane(a=says_went, b=fails, settings=KEEP) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.ask("before", **ASKED)
        await plane.admin.share(token, 1, 5_000)
        for n in range(30):
            await plane.ask(f"u{n}", **ASKED)

        await eventually(lambda: true(len(plane.gateway.lines("answers-tutor.jsonl")) == 30))

        lines = plane.gateway.lines("answers-tutor.jsonl")
        assert {line["kind"] for line in lines} == {"live"}
        assert [line["request_id"] for line in lines] == [f"u{n}" for n in range(30)]
        assert {(line["epoch"], line["segment"], line["share_bp"]) for line in lines} == {
            (1, 1, 5_000)
        }
        assert all(line["request"] == ASKED for line in lines)
        assert {line["arm"] for line in lines} == {"baseline", "candidate"}
        assert {
            (line["arm"], line["status"], line["error"], str(line["body"])) for line in lines
        } == {
            ("baseline", 200, None, "{'answer': 'went'}"),
            ("candidate", 500, "status_500", "{'error': 'lost'}"),
        }
        assert lines[0]["artifacts"] == {
            "baseline": "sha256:" + "a" * 64,
            "candidate": "sha256:" + "b" * 64,
        }


async def test_a_copied_request_leaves_one_line_with_both_answers() -> None:
    async with data_plane(a=says_went, b=fails, settings=KEEP) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        for n in range(10):
            await plane.ask(f"s{n}", **ASKED)

        await eventually(lambda: true(len(plane.gateway.lines("answers-tutor.jsonl")) == 10))

        lines = plane.gateway.lines("answers-tutor.jsonl")
        assert {line["kind"] for line in lines} == {"pair"}
        assert {line["request_id"] for line in lines} == {f"s{n}" for n in range(10)}
        assert all(line["missing"] is None and line["request"] == ASKED for line in lines)
        assert all(line["baseline"]["body"] == {"answer": "went"} for line in lines)
        assert all(line["candidate"]["status"] == 500 for line in lines)
        assert len({line["unit"] for line in lines}) == 10


async def test_nothing_that_users_write_is_kept_unless_it_is_asked_for() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        for n in range(5):
            await plane.ask(f"u{n}", **ASKED)

        await eventually(lambda: true(len(plane.gateway.lines("traffic-tutor.jsonl")) == 5))

        assert not (plane.gateway.state_dir / "answers-tutor.jsonl").exists()
