"""Two hundred common English verbs and the forms of each that a teacher accepts."""

import functools
from dataclasses import dataclass
from enum import StrEnum

from clients.tutor.lexicon import lexicon

VERBS = tuple(
    """
    add admit agree allow answer appear apply ask be become begin believe bend bind bite blow break
    bring build buy call carry catch cause change choose clean close come commit consider continue
    control cook cost cover create cry cut dance deal decide develop die dig do draw drink drive
    drop eat enjoy expect explain fall feed feel fight find flee fly follow forget forgive freeze
    get give go grow hang happen have hear help hide hit hold hope hurry hurt include increase
    invite involve jump keep kill know laugh lay lead learn leave lend let lie like listen live
    look lose love make marry mean meet move need occur offer open paint pass pay permit place plan
    play point prefer produce provide pull put quit raise reach read realize receive refer remain
    remember report require return ride ring rise run say see seek seem sell send serve set shake
    shine shoot show shrink shut sing sink sit sleep slide smile speak spend spin spread stand
    start stay steal stick stop strike study suggest support swear sweep swim swing take talk teach
    tear tell think throw travel try turn understand use visit wait walk want watch wear win work
    worry write
    """.split()  # noqa: SIM905 - two hundred quoted words would be a page of quotes
)


class Form(StrEnum):
    """The forms a verb has, but for those of *be*, which follow the person."""

    BASE = "base"
    THIRD = "third"  # she goes
    PAST = "past"
    PARTICIPLE = "participle"  # she has gone
    GERUND = "gerund"  # she is going


class VerbClass(StrEnum):
    """How a verb makes its forms: by rule, by rule with a change of spelling, or by heart."""

    REGULAR = "regular"
    SPELLING = "spelling"
    IRREGULAR = "irregular"


@dataclass(frozen=True)
class Accepted:
    """Every spelling a teacher accepts for each form of one verb."""

    verb: str
    spellings: dict[Form, frozenset[str]]

    @property
    def verb_class(self) -> VerbClass:
        both_pasts = self.spellings[Form.PAST] & self.spellings[Form.PARTICIPLE]
        plain_gerund = with_ing(self.verb) in self.spellings[Form.GERUND]
        if with_ed(self.verb) in both_pasts and plain_gerund:
            return VerbClass.REGULAR
        doubled, y_to_ied = self.verb + self.verb[-1] + "ed", self.verb[:-1] + "ied"
        if both_pasts & {with_ed(self.verb), doubled, y_to_ied}:
            return VerbClass.SPELLING
        return VerbClass.IRREGULAR


def with_ed(verb: str) -> str:
    """The past by rule: a final e takes only the d."""
    return verb + ("d" if verb.endswith("e") else "ed")


def with_ing(verb: str) -> str:
    """The gerund by rule: a final e goes."""
    return verb.removesuffix("e") + "ing"


@functools.cache
def accepted_forms() -> dict[str, Accepted]:
    """What a teacher accepts for each of VERBS. Raises LexiconMissing.

    Source: the SPECIALIST lexicon of the US National Library of Medicine, as lemminflect ships it,
    with the two corrections below.
    """
    return {verb: _accepted(verb) for verb in VERBS}


# Pairs (verb, form) for which the lexicon, or lemminflect's own overrides of it, drops a form that
# dictionaries for learners list.
_ALSO_ACCEPTED: dict[tuple[str, Form], frozenset[str]] = {
    ("forget", Form.PARTICIPLE): frozenset({"forgot"}),
    ("get", Form.PARTICIPLE): frozenset({"got"}),
    ("hang", Form.PARTICIPLE): frozenset({"hanged"}),
    ("learn", Form.PARTICIPLE): frozenset({"learnt"}),
    ("lie", Form.PARTICIPLE): frozenset({"lain"}),
    ("shine", Form.PARTICIPLE): frozenset({"shined"}),
    ("show", Form.PARTICIPLE): frozenset({"showed"}),
    ("shrink", Form.PAST): frozenset({"shrunk"}),
    ("sink", Form.PAST): frozenset({"sunk"}),
}

# Misspellings, other verbs of the same base (a batter flied out, her eyes teared) and other words
# (sober and staid, the staves of a barrel) that the lexicon lists beside the right form.
_NOT_ACCEPTED = {
    "controled",
    "controling",
    "flied",
    "occured",
    "occuring",
    "payed",
    "refered",
    "refering",
    "staid",
    "staves",
    "teared",
}

_PENN_TAGS = {
    Form.BASE: "VB",
    Form.THIRD: "VBZ",
    Form.PAST: "VBD",
    Form.PARTICIPLE: "VBN",
    Form.GERUND: "VBG",
}


def _accepted(verb: str) -> Accepted:
    by_tag = lexicon().dictionary(verb, "VERB")
    # The lexicon lists no participle where it equals the past.
    by_tag.setdefault("VBN", by_tag["VBD"])
    return Accepted(
        verb=verb,
        spellings={
            form: frozenset(by_tag[tag]) - _NOT_ACCEPTED
            | _ALSO_ACCEPTED.get((verb, form), frozenset())
            for form, tag in _PENN_TAGS.items()
        },
    )
