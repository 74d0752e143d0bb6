"""Traffic through Rampway's own gateway: its admin API behind the traffic port."""

from collections.abc import Mapping
from http import HTTPStatus

import httpx
from pydantic import JsonValue

from rampway.ports import Unreachable
from rampway.release.records import Target
from rampway.release.splits import (
    Capabilities,
    Ending,
    Observed,
    PinnedBy,
    RefusalCode,
    Refused,
    Served,
    Token,
)


class GatewayTraffic:
    """The traffic port over HTTP; the client is built, with its time-outs, by the wiring."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def claim(
        self,
        *,
        target: str,
        release: str,
        baseline: Served,
        candidate: Served,
        ttl_seconds: float,
        op_id: str,
    ) -> Token:
        body: dict[str, JsonValue] = {
            "release": release,
            "baseline": baseline.model_dump(mode="json"),
            "candidate": candidate.model_dump(mode="json"),
            "ttl_seconds": ttl_seconds,
            "op_id": op_id,
        }
        return Token.model_validate(await self._call("POST", f"{target}/claim", body))

    async def set_share(
        self, token: Token, *, share_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed:
        return await self._write(
            token, "share", {"share_bp": share_bp, "ttl_seconds": ttl_seconds, "op_id": op_id}
        )

    async def shadow(
        self, token: Token, *, rate_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed:
        return await self._write(
            token, "shadow", {"rate_bp": rate_bp, "ttl_seconds": ttl_seconds, "op_id": op_id}
        )

    async def renew(self, token: Token, *, ttl_seconds: float) -> Observed:
        return await self._write(token, "renew", {"ttl_seconds": ttl_seconds})

    async def pin(self, token: Token, *, by: PinnedBy) -> Observed:
        return await self._write(token, "pin", by.model_dump(mode="json"))

    async def end(self, token: Token, *, ending: Ending, op_id: str) -> Observed:
        return await self._write(token, "end", {"ending": ending.value, "op_id": op_id})

    async def observe(self, target: str) -> Observed:
        return Observed.model_validate(await self._call("GET", target, None))

    async def capabilities(self, target: str) -> Capabilities:
        return Capabilities.model_validate(await self._call("GET", f"{target}/capabilities", None))

    async def add_target(self, target: Target, baseline: Served) -> None:
        body: dict[str, JsonValue] = {
            "slice_seconds": target.slice_seconds,
            "fast_seconds": target.fast_seconds,
            "timeout_seconds": target.timeout_seconds,
            "judge_seconds": target.judge_seconds,
            "baseline": baseline.model_dump(mode="json"),
        }
        await self._call("PUT", target.name, body)

    async def _write(self, token: Token, verb: str, fields: Mapping[str, JsonValue]) -> Observed:
        body = {"token": token.model_dump(mode="json"), **fields}
        return Observed.model_validate(await self._call("POST", f"{token.target}/{verb}", body))

    async def _call(
        self, method: str, path: str, body: Mapping[str, JsonValue] | None
    ) -> JsonValue:
        """Call the admin API. Raises Refused for an understood no, Unreachable for all else."""
        try:
            answer = await self._http.request(method, f"/v1/targets/{path}", json=body)
        except httpx.HTTPError as failed:
            raise Unreachable(
                f"Gateway {self._http.base_url} does not answer ({type(failed).__name__}). "
                "Next: rampway doctor"
            ) from failed
        if answer.is_success:
            return _json(answer)
        raise _refusal(answer)


def _json(answer: httpx.Response) -> JsonValue:
    try:
        parsed: JsonValue = answer.json()
    except ValueError as broken:
        raise Unreachable(f"Gateway answered {answer.status_code} without JSON.") from broken
    return parsed


def _refusal(answer: httpx.Response) -> Refused | Unreachable:
    """Read `{"error": code, "why": sentence}`; anything else is no usable answer."""
    parsed = (
        _json(answer)
        if answer.headers.get("content-type", "").startswith("application/json")
        else None
    )
    if isinstance(parsed, dict):
        code, why = parsed.get("error"), str(parsed.get("why", ""))
        if code in set(RefusalCode):
            return Refused(RefusalCode(str(code)), why)
        if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            return Refused(RefusalCode.UNKNOWN, why)
        return Unreachable(f"Gateway answered {answer.status_code}: {why or code}")
    return Unreachable(f"Gateway answered {answer.status_code}.")
