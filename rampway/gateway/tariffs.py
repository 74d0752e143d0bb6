"""What an upstream's models may call themselves in answers, and what their tokens cost."""

from collections.abc import Mapping
from typing import Final

from rampway.gateway.findings import Finding
from rampway.gateway.settings import ModelSettings

ANY: Final = "*"
_PRICED_TOKENS: Final = 1_000_000


class Tariff:
    """The models of one upstream, by each of their names; `*` is every other."""

    def __init__(self, models: Mapping[str, ModelSettings]) -> None:
        self._models = models
        self._named: dict[str, ModelSettings] = {}
        for name, model in models.items():
            for alias in (*model.answers_as, name):
                self._named.setdefault(alias, model)
        self._named.update(models)

    def settle(self, finding: Finding, asked: object) -> None:
        """Reckon the cost, and whether another model answered than the artifact asks for (or any)."""
        told = finding.model
        if isinstance(asked, str):
            expected = self._models.get(asked)
            names = (asked, *(expected.answers_as if expected else ()))
        else:
            expected = self._models.get(ANY)
            names = expected.answers_as if expected else ()
        finding.served_other = told is not None and bool(names) and told not in names
        if finding.prompt_tokens is None and finding.completion_tokens is None:
            return
        priced = self.priced(told, asked)
        if priced is not None:
            prompt, completion = finding.prompt_tokens or 0, finding.completion_tokens or 0
            cost = prompt * priced.prompt_price + completion * priced.completion_price
            finding.cost = cost / _PRICED_TOKENS

    def priced(self, told: str | None, asked: object) -> ModelSettings | None:
        """The model whose prices hold for an answer of `told`; None where it has none."""
        expected = self._models.get(asked) if isinstance(asked, str) else None
        priced = self._named.get(told or "") or expected or self._models.get(ANY)
        return priced if priced is not None and priced.is_priced else None
