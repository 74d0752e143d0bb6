"""Seeded personal data goes through the gateway; none of it is found in anything that it writes."""

import gzip
import json
import random
import re
from itertools import chain
from typing import Any

import pytest
from aiohttp import web

from support.gateway_process import DataPlane, Heard, data_plane, eventually, true

SEED = 41
REQUESTS = 60
WHOLE = '[capture.bodies."*"]\nrequest = [""]\nanswer = [""]\n'
NAMED = '[capture.bodies.tutor]\nrequest = ["/case_id"]\nanswer = ["/verdict"]\n'
NOTHING = '[capture.bodies.other]\nrequest = [""]\n'
COMMON = '[units]\nheaders = ["x-user-id"]\n[judged]\nper_second = 50\n[capture]\nanswers = true\n'
FIRST = ("anneliese", "bartholomew", "cordelia", "dagobert", "eulalia")
LAST = ("quirrenbach", "zwetschkenbaum", "oppenländer", "vandermeulen")


class Person:
    """Made-up personal data, another set for each request."""

    def __init__(self, number: int) -> None:
        dice = random.Random(SEED * 1_000 + number)
        self.name = f"{dice.choice(FIRST)} {dice.choice(LAST)}"
        self.email = f"{self.name.split()[0]}.{number}@mail-{number}.example.org"
        self.phone = f"+49 15{dice.randrange(10)} {dice.randrange(10**7, 10**8)}"
        self.card = _card(dice)
        self.key = f"sk-{dice.getrandbits(160):040x}"
        self.bearer = f"Bearer tok{dice.getrandbits(128):032x}"

    @property
    def by_form(self) -> tuple[str, ...]:
        return (self.email, self.phone, self.card, _grouped(self.card), self.key, self.bearer)

    @property
    def by_name(self) -> tuple[str, ...]:
        return tuple(self.name.split())

    def body(self) -> dict[str, Any]:
        told = f"I am {self.name}, {self.email}, call {self.phone}. Pay with {_grouped(self.card)}."
        return {
            "case_id": "go.past",
            "messages": [{"role": "user", "content": told}],
            "card": int(self.card),
            "note": {self.email: f"{self.key} and {self.bearer}"},
        }


def _card(dice: random.Random) -> str:
    """A number with a right check digit (ISO/IEC 7812-1)."""
    digits = [4, *(dice.randrange(10) for _ in range(14))]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-1::-2])
    return "".join(map(str, digits)) + str(-(doubled + sum(digits[-2::-2])) % 10)


def _grouped(card: str) -> str:
    return " ".join(card[n : n + 4] for n in range(0, 16, 4))


PEOPLE = [Person(number) for number in range(REQUESTS)]


async def echoes(heard: Heard) -> web.StreamResponse:
    """Repeats what it was told, sometimes packed or as plain text."""
    said = {"verdict": "right", "echo": heard.json()}
    which = len(heard.body) % 3
    if which == 0:
        packed = gzip.compress(json.dumps(said).encode())
        fields = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=packed, headers=fields)
    if which == 1:
        return web.Response(text=json.dumps(said, ensure_ascii=False))
    return web.json_response(said, status=500 if len(heard.body) % 7 == 0 else 200)


async def _ask(plane: DataPlane, person: Person) -> None:
    fields = {
        "x-user-id": person.email,
        "x-request-id": f"{person.email}/{person.phone}",
        "Authorization": person.bearer,
        "Cookie": f"who={person.email}",
        "X-Api-Key": person.key,
    }
    url = plane.url(f"/v1/chat?mail={person.email}&tel={person.card}")
    async with plane.http.post(url, json=person.body(), headers=fields) as answer:
        assert answer.status in {200, 500}
        await answer.read()


async def _everything_written(plane: DataPlane) -> str:
    """Every file of the state directory, the process's log, and the metrics page."""
    await eventually(lambda: true(len(plane.gateway.lines("answers-tutor.jsonl")) >= REQUESTS))
    await eventually(lambda: true(plane.gateway.lines("journal-tutor.jsonl")))
    await eventually(lambda: true(len(plane.gateway.lines("spool-tutor.jsonl")) > REQUESTS // 2))
    async with plane.http.get(f"{plane.gateway.admin_url}/metrics") as page:
        metrics = await page.text()
    files = (path.read_bytes() for path in plane.gateway.state_dir.iterdir() if path.is_file())
    return "\n".join((*(_as_text(file) for file in files), plane.gateway.log(), metrics))


def _as_text(written: bytes) -> str:
    """With JSON's escapes undone, so that nothing hides behind them."""
    text = written.decode(errors="replace")
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)


async def _play(settings: str) -> str:
    async with data_plane(a=echoes, b=echoes, settings=f"{COMMON}{settings}") as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        for person in PEOPLE[: REQUESTS // 2]:
            await _ask(plane, person)
        await plane.admin.share(token, 2, 5_000)
        for person in PEOPLE[REQUESTS // 2 :]:
            await _ask(plane, person)
        written = await _everything_written(plane)
        plane.gateway.stop()
        left = (path for path in plane.gateway.state_dir.iterdir() if path.is_file())
        return "\n".join((written, *(_as_text(path.read_bytes()) for path in left)))


@pytest.mark.parametrize("settings", [NOTHING, NAMED])
async def test_without_opting_in_to_it_nothing_personal_is_written_anywhere(settings: str) -> None:
    written = await _play(settings)

    told = set(chain.from_iterable((*one.by_form, *one.by_name) for one in PEOPLE))
    assert {personal for personal in told if personal in written} == set()
    assert ("go.past" in written) == (settings == NAMED)
    assert ('_sha256":"' in written) == (settings == NOTHING)


async def test_where_whole_bodies_are_kept_what_has_a_form_is_redacted() -> None:
    written = await _play(WHOLE)

    told = set(chain.from_iterable(one.by_form for one in PEOPLE))
    assert {personal for personal in told if personal in written} == set()
    assert all(f"[{form}]" in written for form in ("email", "phone", "card", "secret"))
    assert "I am " in written  # bodies were kept, and names have no form


async def test_no_span_leaves_with_a_body_a_credential_or_anything_personal_that_has_a_form() -> (
    None
):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", exc_type=ImportError)
    from support.otlp_receiver import otlp_receiver  # noqa: PLC0415 - optional

    with otlp_receiver() as collector:
        settings = (
            f'{COMMON}{NAMED}[telemetry]\nspans = "otlp"\nendpoint = "{collector.endpoint}"\n'
        )
        async with data_plane(a=echoes, b=echoes, settings=settings) as plane:
            await plane.admin.register()
            token = await plane.admin.claim()
            await plane.admin.share(token, 1, 5_000)
            for person in PEOPLE:
                await _ask(plane, person)
                await _ask_of_model(plane, person)
            await eventually(lambda: true(len(collector.spans) == 2 * REQUESTS))
        exported = "\n".join(body.decode(errors="replace") for body in collector.bodies)

    told = set(chain.from_iterable((*one.by_form, *one.by_name) for one in PEOPLE))
    assert {personal for personal in told if personal in exported} == set()
    assert not any(word in exported for word in ("go.past", "I am ", "right", "who=", "mail="))
    assert "[email]/[phone]" in exported
    assert "gpt-4o-2024-08-06" in exported  # what a model is called is told


async def _ask_of_model(plane: DataPlane, person: Person) -> None:
    model = "gpt-4o-2024-08-06" if PEOPLE.index(person) % 2 else person.email
    url = plane.url("/v1/chat/completions")
    headers = {"x-user-id": person.email, "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    async with plane.http.post(url, json={**person.body(), "model": model}, headers=headers) as got:
        assert got.status in {200, 500}
        await got.read()
