"""The tutors on trial: one that follows naive rules, one with a model, and two bad releases of it."""

import functools
from enum import StrEnum

from clients.tutor.cases import Person, Question, Tense, frame
from clients.tutor.lexicon import lexicon
from clients.tutor.verbs import VERBS, Form, with_ed, with_ing


class Variant(StrEnum):
    """Who answers. FLAKY knows what MODEL knows: what is wrong with it is how it serves."""

    NAIVE = "a"
    MODEL = "b"
    SLIP = "b-slip"
    FLAKY = "b-flaky"


def answer(variant: Variant, question: Question) -> str:
    """The variant's answer: the verb phrase without a pronoun, `has been going`.

    SLIP answers the past simple in the present perfect (`have walked` for `walked`), as after a
    prompt that grew one line too many: one slice of twelve is lost whole. Raises LexiconMissing, but
    for NAIVE.
    """
    if variant is Variant.SLIP and question.tense is Tense.PAST_SIMPLE:
        question = Question(question.verb, Tense.PRESENT_PERFECT, question.person)
    forms = naive_forms(question.verb) if variant is Variant.NAIVE else model_forms(question.verb)
    built = frame(question.tense, question.person)
    return built.phrase(forms[built.form])


def warm(variant: Variant) -> None:
    """Compute the forms of all the exam's verbs, so that no request pays for it."""
    for verb in VERBS:
        answer(variant, Question(verb, Tense.PRESENT_SIMPLE, Person.FIRST_SINGULAR))


@functools.lru_cache(maxsize=1024)
def naive_forms(verb: str) -> dict[Form, str]:
    """The endings every beginner knows, with no change of spelling but the final e: `goed`."""
    return {
        Form.BASE: verb,
        Form.THIRD: verb + "s",
        Form.PAST: with_ed(verb),
        Form.PARTICIPLE: with_ed(verb),
        Form.GERUND: with_ing(verb),
    }


@functools.lru_cache(maxsize=1024)
def model_forms(verb: str) -> dict[Form, str]:
    """What lemminflect's model makes of a verb no dictionary has: it can spell, and knows none."""
    by_tag = lexicon().model(verb, "VERB")
    return {
        Form.BASE: verb,
        Form.THIRD: by_tag["VBZ"][0],
        Form.PAST: by_tag["VBD"][0],
        Form.PARTICIPLE: by_tag["VBN"][0],
        Form.GERUND: by_tag["VBG"][0],
    }
