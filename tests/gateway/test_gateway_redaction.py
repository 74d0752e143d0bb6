"""What is written down of bodies: named fields, without what is personal or secret by its form."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rampway.gateway.capture import Allowed, allowed
from rampway.gateway.redaction import OVERLAP, WINDOW, redacted, redacted_id, redacted_text
from rampway.gateway.settings import BodyFields, CaptureSettings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\n-----END RSA PRIVATE KEY-----"

PERSONAL = {
    "email": [
        "alice@example.com",
        "alice.o'hara+tag@mail.example.co.uk",
        "ünïcode@exämple.de",
        "alice%40example.com",
    ],
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5500-0000-0000-0004",
        "378282246310005",
        "6011000990139424",
    ],
    "phone": [
        "+49 151 23456789",
        "+1 (415) 555-2671",
        "+442079460958",
        "0049 30 1234567",
        "415-555-2671",
        "(415) 555-2671",
        "030-1234567",
        "0151 23456789",
    ],
    "secret": [
        "sk-abcdefghijklmnopqrstuvwx",
        "sk-proj-A1b2C3d4E5f6G7h8I9j0",
        "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv",
        "Bearer abc123.def456-ghi789",
        "xoxb-123456789012-abcdefghij",
        JWT,
        PEM,
    ],
}
HARMLESS = [
    "4111111111111112",  # no card: its check digit is wrong
    "1700000000000",  # milliseconds
    "2026-11-21T14:48:00Z",
    "3f1c0c9e-6f0b-4b53-9a2e-0d9f4a7b8c11",
    "127.0.0.1:8080",
    "3.14159265358979",
    "a bearer of good news, and basic training",
    "go.past-simple.1s",
    "@home",
    "sk-short",
]


@pytest.mark.parametrize(
    ("name", "text"), [(n, t) for n, all_of in PERSONAL.items() for t in all_of]
)
def test_each_form_is_replaced_by_its_name_wherever_it_stands(name: str, text: str) -> None:
    assert redacted_text(text) == f"[{name}]"
    assert redacted_text(f"He wrote: {text}, then left.") == f"He wrote: [{name}], then left."
    assert redacted({"a": [f"<{text}>"], f"k {text}": 1}) == {
        "a": [f"<[{name}]>"],
        f"k [{name}]": 1,
    }


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_alike_is_left_as_it_is(text: str) -> None:
    assert redacted_text(text) == text


def test_a_card_told_as_a_number_is_redacted_and_other_values_are_not() -> None:
    told = {"n": 4111111111111111, "t": 1700000000000, "x": True, "y": None, "z": 1.5}

    assert redacted(told) == {**told, "n": "[card]"}


@given(
    before=st.integers(WINDOW - OVERLAP - 40, WINDOW + 40),
    text=st.sampled_from([text for all_of in PERSONAL.values() for text in all_of]),
)
def test_nothing_hides_where_two_windows_meet(before: int, text: str) -> None:
    hidden = "x " * (before // 2) + text + " x" * 40

    assert text not in redacted_text(hidden)


def test_a_secret_longer_than_any_form_is_taken_out_to_its_end() -> None:
    assert redacted_text(f"key sk-{'Ab1' * 3_000} end") == "key [secret] end"


@pytest.mark.parametrize(
    "text", ["@" * 200_000, "a" * 200_000 + "@", "4 " * 100_000, "eyJ" * 60_000]
)
def test_hostile_text_is_searched_in_linear_time(text: str) -> None:
    began = time.perf_counter()

    redacted_text(text)

    assert time.perf_counter() - began < 5


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redacted_text(redacted_text(text)) == redacted_text(text)


def test_ids_of_the_usual_form_pass_and_others_are_searched() -> None:
    uuid = "3f1c0c9e-6f0b-4b53-9a2e-0d9f4a7b8c11"

    assert redacted_id(uuid) == uuid
    assert redacted_id("alice@example.com-7") == "[email]-7"


DOCUMENT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hello"}, {"role": "user", "content": "again"}],
    "user": {"id": 7, "a/b": 1, "m~n": 2},
    "note": "mine",
}


@pytest.mark.parametrize(
    ("pointers", "kept"),
    [
        ([""], DOCUMENT),
        (["/note"], {"note": "mine"}),
        (["/nothing", "/note/deeper"], {"note": None}),
        (["/messages/1/content"], {"messages": [None, {"content": "again"}]}),
        (["/messages/9"], {"messages": []}),
        (["/user/a~1b", "/user/m~0n"], {"user": {"a/b": 1, "m~n": 2}}),
        (["/user/id", "/user"], {"user": DOCUMENT["user"]}),
    ],
)
def test_only_named_fields_are_kept_and_they_stay_where_they_were(
    pointers: list[str], kept: dict[str, Any]
) -> None:
    only = Allowed(BodyFields(request=tuple(pointers)))

    assert only.of_request(DOCUMENT) == kept
    assert only.of_answer(DOCUMENT) is None


def test_text_is_kept_only_where_all_of_a_body_is() -> None:
    assert Allowed(BodyFields(request=("/a",))).of_request("plain words") is None
    assert Allowed(BodyFields(request=("",))).of_request("plain words") == "plain words"


def test_a_digest_is_told_only_of_what_is_not_kept_at_all() -> None:
    assert Allowed().digest(b"") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert Allowed(BodyFields(request=("",))).digest(b"") is None


def test_a_target_has_its_own_list_or_that_of_every_target() -> None:
    settings = CaptureSettings.model_validate(
        {"bodies": {"*": {"request": ["/a"]}, "tutor": {"answer": [""]}}}
    )

    assert allowed(settings, "tutor").of_request({"a": 1}) is None
    assert allowed(settings, "other").of_request({"a": 1, "b": 2}) == {"a": 1}
    assert not allowed(CaptureSettings(), "tutor").keeps_bodies


@pytest.mark.parametrize("wrong", [{}, {"request": ["a"]}, {"request": ["/~2"]}])
def test_a_list_that_names_nothing_or_no_pointer_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CaptureSettings.model_validate({"bodies": {"tutor": wrong}})


def test_redaction_can_be_switched_off_for_traffic_that_is_nobodys() -> None:
    settings = CaptureSettings.model_validate(
        {"redact": False, "bodies": {"tutor": {"request": [""]}}}
    )

    assert allowed(settings, "tutor").of_request("a@example.com") == "a@example.com"
    assert orjson.dumps(allowed(CaptureSettings(), "tutor").of_request("x")) == b"null"
