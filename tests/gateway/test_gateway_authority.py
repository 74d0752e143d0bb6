"""The one writer stores before it raises, lowers before it stores, and loads nothing that has lapsed."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from split_builders import BREACH, OLD, TARGET, TIMING, TTL_SECONDS, HandClock, order

from rampway.gateway.authority import Authority
from rampway.gateway.splits import TargetSplit
from rampway.gateway.state import StateFile
from rampway.gateway.terms import (
    Ending,
    NotStored,
    PinCause,
    RefusalCode,
    Refused,
    Serve,
    Served,
    Token,
    UnknownUpstream,
)
from rampway.gateway.truth import Truth

BOOT = "this boot"


class Disk(StateFile):
    """A real state file whose disk can be full, or hang until it is let go."""

    def __init__(self, directory: Path, *, boot_id: str = BOOT) -> None:
        super().__init__(directory, boot_id=boot_id)
        self.is_full = False
        self.hangs = threading.Event()
        self.reached = threading.Event()
        self.hangs.set()

    def save(self, targets: Mapping[str, TargetSplit]) -> None:
        self.reached.set()
        assert self.hangs.wait(10)
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().save(targets)


class Held:
    """An authority over a real directory, and what it told of changes."""

    def __init__(self, directory: Path, clock: HandClock, *, boot_id: str = BOOT) -> None:
        self.directory = directory
        self.clock = clock
        self.disk = Disk(directory, boot_id=boot_id)
        self.truth = Truth(directory)
        self.changes: list[TargetSplit] = []
        self.authority = Authority(
            state=self.disk,
            truth=self.truth,
            clock=clock,
            upstreams=frozenset({"a", "b"}),
            boot_id=boot_id,
            changed=self.changes.append,
        )
        self.authority.load()

    async def canary(self, share_bp: int = 500) -> Token:
        await self.authority.register(TARGET, TIMING, OLD)
        token = await self.authority.claim(TARGET, order())
        token = token.model_copy(update={"sequence": 3})
        await self.share(token, share_bp)
        return token

    async def share(self, token: Token, share_bp: int, *, ttl_seconds: float = TTL_SECONDS) -> None:
        await self.authority.set_share(
            token, share_bp=share_bp, ttl_seconds=ttl_seconds, op_id=f"share/{share_bp}"
        )

    def restarted(self, *, boot_id: str = BOOT) -> "Held":
        self.authority.close()
        return Held(self.directory, self.clock, boot_id=boot_id)

    @property
    def share_bp(self) -> int:
        return self.authority.observe(TARGET).share_bp


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path, HandClock())


async def test_a_raise_that_cannot_be_stored_is_not_in_force(held: Held) -> None:
    token = await held.canary(500)
    held.disk.is_full = True

    with pytest.raises(NotStored):
        await held.share(token.model_copy(update={"sequence": 4}), 2_500)

    assert held.share_bp == 500
    assert held.restarted().share_bp == 500


async def test_a_pin_that_cannot_be_stored_is_in_force_and_is_stored_later(held: Held) -> None:
    token = await held.canary(500)
    held.disk.is_full = True

    with pytest.raises(NotStored):
        await held.authority.pin(token, BREACH)

    assert held.share_bp == 0
    held.disk.is_full = False
    await held.authority.record()
    assert held.restarted().share_bp == 0


async def test_a_repeated_pin_is_answered_only_when_it_is_stored(held: Held) -> None:
    token = await held.canary(500)
    held.disk.is_full = True

    for _ in range(2):
        with pytest.raises(NotStored):
            await held.authority.pin(token, BREACH)
    held.disk.is_full = False

    assert (await held.authority.pin(token, BREACH)).pinned_by == BREACH
    assert held.restarted().share_bp == 0


async def test_a_pin_does_not_wait_for_a_raise_whose_disk_hangs_and_wins_over_it(
    held: Held,
) -> None:
    token = await held.canary(500)
    held.disk.reached.clear()
    held.disk.hangs.clear()
    raising = asyncio.create_task(held.share(token.model_copy(update={"sequence": 4}), 2_500))
    await asyncio.to_thread(held.disk.reached.wait, 10)

    pinning = asyncio.create_task(held.authority.pin(token, BREACH))
    await asyncio.sleep(0)

    assert held.share_bp == 0
    held.disk.hangs.set()
    with pytest.raises(Refused) as refused:
        await raising
    assert refused.value.code is RefusalCode.PINNED
    assert (await pinning).share_bp == 0
    assert held.restarted().share_bp == 0


async def test_a_lease_that_runs_out_while_a_raise_is_stored_refuses_the_raise(held: Held) -> None:
    token = await held.canary(500)
    held.disk.reached.clear()
    held.disk.hangs.clear()
    raising = asyncio.create_task(
        held.share(token.model_copy(update={"sequence": 4}), 2_500, ttl_seconds=3_000)
    )
    await asyncio.to_thread(held.disk.reached.wait, 10)

    held.clock.advance(TTL_SECONDS)
    held.authority.lapse(TARGET)
    held.disk.hangs.set()

    with pytest.raises(Refused) as refused:
        await raising
    assert refused.value.code is RefusalCode.LEASE_LOST
    assert held.restarted().share_bp == 0


async def test_a_restart_takes_up_share_lease_and_operations(held: Held) -> None:
    token = await held.canary(500)
    held.clock.advance(10)

    again = held.restarted()

    seen = again.authority.observe(TARGET)
    assert (seen.share_bp, seen.lease_seconds) == (500, TTL_SECONDS - 10)
    await again.share(token, 500)
    assert again.authority.accepted_total == 0


async def test_a_lease_that_passed_while_the_process_was_down_is_lowered_on_load(
    held: Held,
) -> None:
    await held.canary(500)
    held.clock.advance(TTL_SECONDS)

    again = held.restarted()

    assert [(one.claim.share_bp if one.claim else 0) for one in again.changes] == [0]
    told = [line for line in (held.directory / "splits.jsonl").read_text().splitlines() if line]
    assert '"cause":"load"' in told[-1]
    assert '"share_after_bp":0' in told[-1]


async def test_a_lease_of_another_boot_has_passed(held: Held) -> None:
    await held.canary(500)

    again = held.restarted(boot_id="the next boot")

    seen = again.authority.observe(TARGET)
    assert seen.share_bp == 0
    assert seen.pinned_by is not None
    assert seen.pinned_by.cause is PinCause.LEASE_EXPIRED


async def test_a_promotion_outlives_every_boot(held: Held) -> None:
    token = await held.canary(9_900)
    ended = token.model_copy(update={"sequence": 9})
    await held.authority.end(ended, ending=Ending.PROMOTED, op_id="promote")

    again = held.restarted(boot_id="the next boot")

    seen = again.authority.observe(TARGET)
    assert (seen.share_bp, seen.ended, seen.pinned_by) == (10_000, Ending.PROMOTED, None)


async def test_a_candidate_whose_upstream_is_gone_from_the_settings_is_pinned_on_load(
    tmp_path: Path,
) -> None:
    held = Held(tmp_path, HandClock())
    await held.canary(500)
    held.authority.close()
    authority = Authority(
        state=StateFile(tmp_path, boot_id=BOOT),
        truth=Truth(tmp_path),
        clock=held.clock,
        upstreams=frozenset({"a"}),
        boot_id=BOOT,
        changed=held.changes.append,
    )

    authority.load()

    seen = authority.observe(TARGET)
    assert seen.share_bp == 0
    assert seen.pinned_by is not None
    assert seen.pinned_by.cause is PinCause.CONTROL_LOST


async def test_an_unreadable_state_serves_nothing_by_a_guess_and_gives_no_epoch_twice(
    held: Held,
) -> None:
    await held.canary(500)
    path = held.directory / "state.json"
    path.write_bytes(path.read_bytes()[:-1])

    again = held.restarted()

    assert again.authority.targets() == []
    assert again.authority.unreadable
    assert (held.directory / "state.json.unreadable").exists()
    await again.authority.register(TARGET, TIMING, OLD)
    assert (await again.authority.claim(TARGET, order("r2"))).epoch > 1


async def test_an_upstream_that_is_not_configured_is_refused_with_those_that_are(
    held: Held,
) -> None:
    elsewhere = Served(artifact="x", serve=Serve(upstream="nowhere"))

    with pytest.raises(UnknownUpstream, match="Configured: a, b"):
        await held.authority.register(TARGET, TIMING, elsewhere)
    await held.authority.register(TARGET, TIMING, OLD)
    with pytest.raises(UnknownUpstream, match="nowhere"):
        await held.authority.claim(TARGET, order(candidate=elsewhere))


async def test_each_claim_draws_its_own_salt(held: Held) -> None:
    token = await held.canary()
    await held.authority.end(token, ending=Ending.ROLLED_BACK, op_id="back")
    await held.authority.claim(TARGET, order("r2"))

    salts = {one.claim.salt for one in held.changes if one.claim}
    assert len(salts) == 2


async def test_every_change_is_told_to_the_ground_truth_once(held: Held) -> None:
    token = await held.canary(500)
    await held.share(token, 500)
    await held.authority.renew(token, ttl_seconds=TTL_SECONDS)
    held.clock.advance(TTL_SECONDS)
    held.authority.lapse_due()
    await held.authority.record()
    await held.authority.pin(token, BREACH)
    await held.authority.end(token, ending=Ending.ROLLED_BACK, op_id="back")

    lines = (held.directory / "splits.jsonl").read_text().splitlines()
    causes = [line.split('"cause":"')[1].split('"')[0] for line in lines]
    assert causes == [
        "register",
        "claim",
        "share",
        "renew",
        "lease_expired",
        "pin",
        "rolled_back",
    ]
