"""The parts of Grafana's dashboard JSON (schema version 42) that our boards use, and nothing else."""

from typing import Any, Final


def _closed(required: str, optional: str = "", **properties: object) -> dict[str, Any]:
    """An object with these properties only; those in `optional` need not be there."""
    names = [*required.split(), *optional.split()]
    assert set(names) == set(properties), set(names) ^ set(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_TEXT: Final = {"type": "string", "minLength": 1}
_TRUTH: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SOURCE: Final = _closed("type uid", type={"const": "prometheus"}, uid={"const": "${datasource}"})
_PLACE: Final = _closed(
    "h w x y",
    h={"type": "integer", "minimum": 1},
    w={"type": "integer", "minimum": 1, "maximum": 24},
    x={"type": "integer", "minimum": 0, "maximum": 23},
    y=_COUNT,
)
_TARGET: Final = _closed(
    "datasource expr legendFormat range refId instant",
    datasource=_SOURCE,
    expr=_TEXT,
    legendFormat=_TEXT,
    range={"const": True},
    instant={"const": False},
    refId={"type": "string", "pattern": "^[A-Z]$"},
)
_PANEL: Final = _closed(
    "id type title description datasource fieldConfig gridPos targets options",
    "repeatDirection transparent",
    id={"type": "integer", "minimum": 1},
    type={"enum": ["timeseries", "stat"]},
    title=_TEXT,
    description=_TEXT,
    datasource=_SOURCE,
    fieldConfig=_closed(
        "defaults overrides",
        defaults=_closed(
            "unit min",
            "custom",
            unit={"enum": ["percentunit", "s", "reqps", "bytes", "short", "bool_yes_no"]},
            min={"const": 0},
            custom={"type": "object"},
        ),
        overrides={"type": "array", "maxItems": 0},
    ),
    gridPos=_PLACE,
    targets={"type": "array", "minItems": 1, "items": _TARGET},
    options={"type": "object"},
    repeatDirection={"enum": ["h", "v"]},
    transparent=_TRUTH,
)
_ROW: Final = _closed(
    "id type title gridPos collapsed panels",
    id={"type": "integer", "minimum": 1},
    type={"const": "row"},
    title=_TEXT,
    gridPos=_PLACE,
    collapsed={"const": False},
    panels={"type": "array", "maxItems": 0},
)
_VARIABLE: Final = _closed(
    "name type label query",
    "datasource refresh sort allowCustomValue auto auto_count auto_min includeAll multi skipUrlSync",
    name={"enum": ["datasource", "target"]},
    type={"enum": ["datasource", "query"]},
    label=_TEXT,
    query=_TEXT,
    datasource=_SOURCE,
    refresh={"enum": [0, 1, 2]},
    sort={"type": "integer", "minimum": 0, "maximum": 8},
    allowCustomValue=_TRUTH,
    auto=_TRUTH,
    auto_count=_COUNT,
    auto_min=_TEXT,
    includeAll=_TRUTH,
    multi=_TRUTH,
    skipUrlSync=_TRUTH,
)
DASHBOARD: Final = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_closed(
        "uid title description tags schemaVersion refresh time templating panels editable",
        "annotations fiscalYearStartMonth graphTooltip timezone",
        uid={"type": "string", "pattern": "^[a-z-]{1,40}$"},
        title=_TEXT,
        description=_TEXT,
        tags={"type": "array", "items": _TEXT},
        schemaVersion={"const": 42},
        refresh={"type": "string", "pattern": "^[0-9]+[smh]$"},
        time=_closed("from to", **{"from": _TEXT, "to": _TEXT}),
        templating=_closed("list", list={"type": "array", "minItems": 1, "items": _VARIABLE}),
        panels={"type": "array", "minItems": 1, "items": {"anyOf": [_PANEL, _ROW]}},
        editable=_TRUTH,
        annotations={"type": "object"},
        fiscalYearStartMonth={"type": "integer", "minimum": 0, "maximum": 11},
        graphTooltip={"enum": [0, 1, 2]},
        timezone=_TEXT,
    ),
}
