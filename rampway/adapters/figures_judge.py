"""How a shadow does right now, asked of the judge over HTTP; for screens only."""

import httpx
from pydantic import ValidationError

from rampway.ports import Unreachable
from rampway.reports.shadow_figures import ShadowFigures


class JudgeFigures:
    """The judge's rolling figures."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def shadow(self, target: str) -> ShadowFigures:
        """The figures of a target's last pairs. Raises Unreachable."""
        try:
            answer = await self._http.get("/v1/shadow", params={"target": target})
        except httpx.HTTPError as failed:
            raise Unreachable(
                f"the judge {self._http.base_url} does not answer ({type(failed).__name__})"
            ) from failed
        if not answer.is_success:
            raise Unreachable(f"the judge answered {answer.status_code}: {answer.text[:200]}")
        try:
            return ShadowFigures.model_validate_json(answer.content)
        except ValidationError as wrong:
            raise Unreachable(f"the judge {answer.url} answered something else") from wrong
