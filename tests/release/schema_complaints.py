"""What an editor would underline in release.yaml: the part of JSON Schema that our schema uses."""

import re
from collections.abc import Iterator
from typing import cast

Schema = dict[str, object]

KINDS: dict[object, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def complaints(value: object, schema: Schema, root: Schema, path: str = "$") -> list[str]:
    """Every place where a value breaks a schema; `root` holds the definitions."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        schema = {**cast("dict[str, Schema]", root["$defs"])[name], **schema}
    options = cast("list[Schema]", schema.get("anyOf", []))
    tried = [complaints(value, option, root, path) for option in options]
    if tried and all(tried):
        return min(tried, key=len)
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or isinstance(value, bool)):
        return [f"{path}: {value!r} is no {kind}"]
    found = [f"{path}: {why}" for why in _scalar(value, schema)]
    if isinstance(value, dict):
        found += _mapping(cast("dict[str, object]", value), schema, root, path)
    if isinstance(value, list):
        items = cast("Schema", schema.get("items", {}))
        for i, item in enumerate(cast("list[object]", value)):
            found += complaints(item, items, root, f"{path}.{i}")
    return found


def _scalar(value: object, schema: Schema) -> Iterator[str]:
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(str(pattern), str(value)):
        yield f"{value!r} does not match {pattern}"
    if "enum" in schema and value not in cast("list[object]", schema["enum"]):
        yield f"{value!r} is none of {schema['enum']}"
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not cast("float", low) <= value <= cast("float", high):
            yield f"{value} is out of bounds"


def _mapping(value: dict[str, object], schema: Schema, root: Schema, path: str) -> Iterator[str]:
    known = cast("dict[str, Schema]", schema.get("properties", {}))
    required = cast("list[str]", schema.get("required", []))
    yield from (f"{path}: {key} is missing" for key in required if key not in value)
    if schema.get("additionalProperties") is False:
        yield from (f"{path}: {key} is unknown" for key in value.keys() - known.keys())
    for key, item in value.items():
        yield from complaints(item, known.get(key, {}), root, f"{path}.{key}")
