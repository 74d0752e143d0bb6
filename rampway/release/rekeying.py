"""Writes other keys into a release.yaml that was already read, as its author would."""

from collections.abc import Mapping

from pydantic import JsonValue

from rampway.release.spec import Spec

Keys = dict[str, JsonValue]


def rewritten(spec: Spec, keys: Mapping[str, JsonValue]) -> Spec:
    """The spec with these keys merged in, section by section; a list is replaced as a whole.

    The gates' lists of margins are left out first: they have one entry for each step that must PASS,
    and other steps have others. Raises pydantic.ValidationError where a rule refuses the result.
    """
    content: Keys = spec.model_dump(mode="json")
    return Spec.model_validate(_merged(_without_margins(content), keys))


def _without_margins(content: Keys) -> Keys:
    gates = content["gates"]
    if not isinstance(gates, dict):
        return content
    kept: Keys = {
        name: {key: value for key, value in gate.items() if key != "margin"}
        if isinstance(gate, dict)
        else gate
        for name, gate in gates.items()
    }
    return {**content, "gates": kept}


def _merged(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> Keys:
    merged = dict(old)
    for key, value in new.items():
        inner = merged.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            merged[key] = _merged(inner, value)
        else:
            merged[key] = value
    return merged
