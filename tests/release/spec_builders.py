"""A valid release.yaml whose keys a test may change one at a time."""

import yaml

from rampway.release.records import Target
from rampway.release.spec import Spec
from rampway.release.specfile import SpecErrors, parse_spec

SMALLEST = """\
target: grammar-tutor
owner: tutor-dev
candidate: {model: provider-v5}
serve: {upstream: provider}
offline: {cases: evals/verbs.jsonl}
"""

PRODUCTION = Target(name="grammar-tutor")


def spec_text(**changed: object) -> str:
    """The smallest spec, with top-level keys set; None removes a key."""
    tree = {**yaml.safe_load(SMALLEST), **changed}
    kept = {key: value for key, value in tree.items() if value is not None}
    return yaml.safe_dump(kept, sort_keys=False, default_flow_style=False)


def spec(**changed: object) -> Spec:
    """The smallest spec, parsed, with top-level keys set."""
    return parse_spec(spec_text(**changed), filename="release.yaml")


def mistakes(text: str) -> list[str]:
    """Every mistake in a text, as it is printed; none when it parses."""
    try:
        parse_spec(text, filename="release.yaml")
    except SpecErrors as errors:
        return [str(error) for error in errors.errors]
    return []


def mistake(**changed: object) -> str:
    """The one mistake that a change makes, without its place."""
    found = mistakes(spec_text(**changed))
    assert len(found) == 1, found
    return found[0].split(": ", 1)[1]
