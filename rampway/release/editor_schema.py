"""How the sections of release.yaml describe themselves to an editor: as they are written."""

from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from rampway.gates.facts import Fact


class Section(Fact):
    """A part of release.yaml; its editor schema shows defaults as the file spells them.

    A section that one scalar can stand for says so in `short_form`, as JSON schema.
    """

    short_form: ClassVar[dict[str, Any] | None] = None

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        unset = cls.model_construct()
        for name, described in schema.get("properties", {}).items():
            _without_null(described)
            if described.pop("default", None) is not None:
                spelled = unset.model_dump(mode="json", include={name}, exclude_none=True)
                described["default"] = spelled[name]
        return schema if cls.short_form is None else {"anyOf": [cls.short_form, schema]}


def _without_null(described: dict[str, Any]) -> None:
    """An absent key takes its default, an empty one is refused, so editors need not offer null."""
    kept = [option for option in described.get("anyOf", []) if option != {"type": "null"}]
    if len(kept) == 1:
        described.pop("anyOf")
        described.update(kept[0])
    elif kept:
        described["anyOf"] = kept


class OffSchema:
    """Tells editors that `off`, and not null, switches a section off."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core_schema)
        # Editors that read YAML 1.1 see false in a bare off.
        return {**schema, "anyOf": [*schema.get("anyOf", []), {"enum": ["off", False]}]}
