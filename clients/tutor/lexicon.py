"""The two functions of the optional package lemminflect that the tutor is built from.

The teacher's answers come from its dictionary, a tutor's answers only ever from its model for words
the dictionary lacks: a tutor that answered from the dictionary would be graded against itself.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass

# Penn Treebank tag -> spellings; called with a verb and the part of speech.
Inflect = Callable[[str, str], dict[str, tuple[str, ...]]]


class LexiconMissing(Exception):
    """The verb lexicon of the demo is not installed."""


@dataclass(frozen=True)
class Lexicon:
    dictionary: Inflect
    model: Inflect


@functools.cache
def lexicon() -> Lexicon:
    """Load lemminflect (0.1 s), on first use: nothing else of Rampway needs it."""
    try:
        module = importlib.import_module("lemminflect")
    except ModuleNotFoundError as missing:
        raise LexiconMissing(
            f"The grammar tutor needs the package {missing.name!r}, which is not installed. "
            "Next: pip install 'rampway[demo]'"
        ) from missing
    return Lexicon(dictionary=module.getAllInflections, model=module.getAllInflectionsOOV)
