"""What an answer told of itself, as far as it was understood; no HTTP here."""

from typing import Final

ANSWER_ERROR: Final = "answer_error"  # an error inside a body that came with a good status
STREAM_ERROR: Final = "stream_error"  # an error inside a stream, or a stream without its end
WRONG_ARTIFACT: Final = "wrong_artifact"  # the upstream told another digest than the arm's
OTHER_REASON: Final = "other"
FINISH_REASONS: Final = frozenset(
    {"stop", "length", "content_filter", "tool_calls", "function_call", OTHER_REASON}
)
_TEXT_MAX: Final = 200
_TOKENS_MAX: Final = 2**40


class Finding:
    """Facts of one answer. None is what was not told; `cost` is in the currency of the prices.

    `ended` says that a stream told its end, `unread` that a part was too large, or packed, to be
    looked into, `served_other` that the model told is none of those expected.
    """

    __slots__ = (
        "completion_tokens",
        "cost",
        "ended",
        "failed",
        "finish_reason",
        "model",
        "prompt_tokens",
        "refused",
        "served_other",
        "unread",
    )

    def __init__(self, *, unread: bool = False) -> None:
        self.refused = False
        self.failed = False
        self.ended = False
        self.unread = unread
        self.served_other = False
        self.model: str | None = None
        self.finish_reason: str | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cost: float | None = None

    def take_model(self, told: object) -> None:
        """The first name stands: a stream tells it with every event."""
        if self.model is None and isinstance(told, str) and told:
            self.model = told[:_TEXT_MAX]

    def take_finish_reason(self, told: object) -> None:
        """The first of several choices stands, but a filter that cut in is never passed over."""
        if not isinstance(told, str) or not told:
            return
        if told == "content_filter":
            self.refused = True
            self.finish_reason = told
        elif self.finish_reason is None:
            self.finish_reason = told[:_TEXT_MAX]

    def take_prompt_tokens(self, told: object) -> None:
        """The last figure stands: some servers count up while they stream."""
        if type(told) is int and 0 <= told <= _TOKENS_MAX:  # True is no count
            self.prompt_tokens = told

    def take_completion_tokens(self, told: object) -> None:
        if type(told) is int and 0 <= told <= _TOKENS_MAX:
            self.completion_tokens = told

    @property
    def reason_label(self) -> str | None:
        """The finish reason among a few known ones: labels of a metric are bounded."""
        told = self.finish_reason
        return told if told is None or told in FINISH_REASONS else OTHER_REASON
