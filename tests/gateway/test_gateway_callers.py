"""Units, ids and tenants are believed from trusted edges only; pinned tenants are in no gate's count."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from scipy.stats import binom

from rampway.gateway.callers import PEERS_REMEMBERED, Callers, Edges
from rampway.gateway.settings import LOOPBACK, TenantSettings, UnitSettings
from rampway.gateway.terms import Arm
from support.gateway_process import DataPlane, data_plane, eventually

EDGE, OUTSIDE = "10.1.2.3", "203.0.113.9"
UNITS = UnitSettings.model_validate(
    {"trusted_edges": ["10.0.0.0/8", "fd00::/8"], "headers": ["X-User-Id", "x-session-id"]}
)
TENANTS = TenantSettings.model_validate(
    {"header": "x-tenant-id", "baseline": ["acme"], "candidate": ["insiders"]}
)
TENANT_TOML = (
    '[tenants]\nheader = "x-tenant-id"\nbaseline = ["acme"]\ncandidate = ["insiders"]\n'
    "[capture]\nanswers = true\n"
)
NOBODY_TRUSTED = '[units]\ntrusted_edges = ["10.0.0.0/8"]\nheaders = ["x-user-id"]\n' + TENANT_TOML


def fields(*told: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(told))


@pytest.fixture
def callers() -> Callers:
    return Callers(UNITS, TENANTS)


def test_of_an_edge_the_first_configured_field_is_the_unit(callers: Callers) -> None:
    told = (("x-session-id", "s1"), ("X-Request-Id", "r1"), ("x-user-id", "u1"))

    assert callers.who(EDGE, fields(*told)).unit == b"u1"
    assert callers.who(EDGE, fields(*told[:2])).unit == b"s1"
    assert callers.who(EDGE, fields(told[1])).unit == b"r1"
    assert {callers.who(EDGE, fields(*told)).request_id} == {"r1"}


def test_without_any_field_the_unit_is_a_drawn_uuid_and_never_twice_the_same(
    callers: Callers,
) -> None:
    drawn = [callers.who(EDGE, fields(("host", "same"))) for _ in range(500)]

    assert {UUID(one.request_id).version for one in drawn} == {4}
    assert {one.unit for one in drawn} == {one.request_id.encode() for one in drawn}
    assert len({one.unit for one in drawn}) == 500


def test_of_a_peer_outside_nothing_is_believed_and_nothing_passed_on(callers: Callers) -> None:
    told = fields(("x-user-id", "u1"), ("x-request-id", "r1"), ("x-tenant-id", "insiders"))

    caller = callers.who(OUTSIDE, told)

    assert UUID(caller.request_id).version == 4
    assert (caller.unit, caller.pin) == (caller.request_id.encode(), None)
    assert set(callers.believed(caller, CIMultiDict(told))) == {"x-request-id"}  # set anew upstream
    assert callers.believed(callers.who(EDGE, told), CIMultiDict(told)) == CIMultiDict(told)


@pytest.mark.parametrize("name", ["x-user-id", "x-request-id", "x-tenant-id"])
def test_a_field_told_twice_counts_as_missing(callers: Callers, name: str) -> None:
    caller = callers.who(EDGE, fields((name, "insiders"), (name.upper(), "acme")))

    assert UUID(caller.request_id).version == 4
    assert (caller.unit, caller.pin) == (caller.request_id.encode(), None)


@pytest.mark.parametrize(("tenant", "pin"), [("acme", Arm.BASELINE), ("insiders", Arm.CANDIDATE)])
def test_a_tenant_is_pinned_by_its_exact_value(callers: Callers, tenant: str, pin: Arm) -> None:
    assert callers.who(EDGE, fields(("X-Tenant-Id", tenant))).pin is pin
    assert callers.who(EDGE, fields(("X-Tenant-Id", tenant.upper()))).pin is None


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("fd12::1", True),
        ("fd12::1%eth0", True),
        ("fe80::1", False),
        ("127.0.0.1", False),
        ("", False),
        ("10.0.0.1, 1.1.1.1", False),
        (None, False),
    ],
)
def test_only_addresses_in_the_configured_networks_are_edges(
    peer: str | None,
    trusted: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    edges = Edges(UNITS.trusted_edges)

    assert [edges.trust(peer), edges.trust(peer)] == [trusted, trusted]


def test_remembered_peers_are_bounded() -> None:
    edges = Edges(LOOPBACK)

    for n in range(3 * PEERS_REMEMBERED):
        edges.trust(f"2001:db8::{n:x}")

    assert len(edges._known) <= PEERS_REMEMBERED


async def _ask(plane: DataPlane, **told: str) -> str:
    names = {name.replace("_", "-"): value for name, value in told.items()}
    async with plane.http.post(plane.url(), json={}, headers=names) as answer:
        assert answer.status == 200
        return str((await answer.json())["by"])


async def _logged(plane: DataPlane, n: int) -> Sequence[dict[str, object]]:
    async def all_of() -> Sequence[dict[str, object]]:
        lines = plane.gateway.lines("traffic-tutor.jsonl")
        return lines if len(lines) >= n else []

    return await eventually(all_of)


async def test_a_caller_outside_cannot_choose_his_arm_by_any_field() -> None:
    asked = 200
    async with data_plane(settings=NOBODY_TRUSTED) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)

        by = [
            await _ask(plane, x_user_id="me", x_request_id="mine", x_tenant_id="insiders")
            for _ in range(asked)
        ]

        low, high = binom.interval(0.9999, asked, 0.5)
        assert low <= by.count("b") <= high
        heard = [one.headers for one in (*plane.a.heard, *plane.b.heard)]
        assert len({one["x-request-id"] for one in heard}) == asked
        assert not any("x-user-id" in one or "x-tenant-id" in one for one in heard)
        lines = await _logged(plane, asked)
        assert {line["reason"] for line in lines} == {"split"}
        assert "mine" not in {line["request_id"] for line in lines}


async def test_one_user_has_one_arm_whatever_the_request() -> None:
    settings = '[units]\nheaders = ["x-user-id"]\n'
    async with data_plane(settings=settings) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)

        by = {
            user: {await _ask(plane, x_user_id=user, x_request_id=f"{user}-{n}") for n in range(5)}
            for user in (f"user-{n}" for n in range(30))
        }

        assert all(len(arms) == 1 for arms in by.values())
        assert set().union(*by.values()) == {"a", "b"}


async def test_pinned_tenants_have_their_arm_and_are_in_no_gates_count() -> None:
    async with data_plane(settings=TENANT_TOML) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        before = [await _ask(plane, x_tenant_id=name) for name in ("acme", "insiders")]
        await plane.admin.share(token, 2, 100)

        pinned = {
            name: {await _ask(plane, x_tenant_id=name) for _ in range(20)}
            for name in ("acme", "insiders")
        }
        await _ask(plane, x_tenant_id="other", x_request_id="counted")

        assert before == ["a", "a"]  # nobody sees the candidate before it has a share
        assert pinned == {"acme": {"a"}, "insiders": {"b"}}
        lines = await _logged(plane, 43)
        assert [line["reason"] for line in lines[:2]] == ["default", "default"]
        assert {(line["reason"], line["arm"]) for line in lines[2:42]} == {
            ("targeting_match", "baseline"),
            ("targeting_match", "candidate"),
        }
        assert not any(line["shadow"] for line in lines)
        await eventually(lambda: _sealed_units(plane, 2, 1))
        labels = 'target="tutor",arm="candidate"'
        assert await plane.admin.metric(f"pinned_requests_total{{{labels}}}") == 20
        assert await plane.admin.metric('requests_total{target="tutor",arm="baseline"}') == 1
        assert {line["request_id"] for line in plane.gateway.lines("answers-tutor.jsonl")} == {
            "counted"
        }


async def test_after_a_promotion_everybody_has_the_new_baseline_pinned_or_not() -> None:
    async with data_plane(settings=TENANT_TOML) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 10_000)
        full = [await _ask(plane, x_tenant_id=name) for name in ("acme", "other")]

        status, _ = await plane.admin.write("end", token, 2, ending="promoted")
        after = [await _ask(plane, x_tenant_id=name) for name in ("acme", "other")]

        assert status == 200
        assert full == ["a", "b"]
        assert after == ["b", "b"]
        reasons = [line["reason"] for line in await _logged(plane, 4)]
        assert reasons == ["targeting_match", "static", "static", "static"]


async def test_a_pin_to_the_candidate_ends_with_the_releases_rollback() -> None:
    async with data_plane(settings=TENANT_TOML) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 100)
        open_arm = await _ask(plane, x_tenant_id="insiders")

        await plane.admin.write("pin", token, 2, cause="breach", why="test")
        pinned_arm = await _ask(plane, x_tenant_id="insiders")

        assert (open_arm, pinned_arm) == ("b", "a")
        reasons = [line["reason"] for line in await _logged(plane, 2)]
        assert reasons == ["targeting_match", "disabled"]


async def _sealed_units(plane: DataPlane, segment: int, units: int) -> object:
    """Exactly so many units are sealed in the segment, once the slices of all requests are."""
    rows = (await plane.admin.slices(1, segment))["full"]["rows"]
    counted = sum(row[arm]["units"] for row in rows for arm in ("baseline", "candidate"))
    assert counted <= units
    return counted == units
