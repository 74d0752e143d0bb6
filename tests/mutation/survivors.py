"""Why a surviving mutant is no gap in the tests: it changes nothing that can be seen."""

_PRECISION = "a precision: twice or half of it moves no boundary"
_SPEED = "chooses the quicker of two ways to the same numbers"

REASONS: dict[str, str] = {
    "engine | _TIE = 1 + 1e-9  # an exact tie between tail and budget falls the same way on every"
    " machine | constant: 1e-09 to 2e-09": _PRECISION,
    "engine | _CUT = 1e-14  # probability that is dropped at the ends of a running law"
    " | constant: 1e-14 to 2e-14": _PRECISION,
    "engine | _CUT_SLICE = 1e-18  # the same for the law of one slice, before it is normalised"
    " | constant: 1e-18 to 2e-18": _PRECISION,
    "engine | _FFT_PRODUCTS = 4_000_000  # above this many products a direct convolution is the"
    " slower one | constant: 4000000 to 4000001": _SPEED,
    "engine | _BLOCK_LAWS = 3  # a block of a long convolution has room for so many of the short"
    " one | constant: 3 to 4": _SPEED,
    "engine | index = math.floor(self._end_seconds / third + 1e-9) | constant: 1e-09 to 2e-09": (
        _PRECISION
    ),
    "engine | g[g < 0] = 0.0  # rounding leaves tiny negative probabilities"
    " | comparison: Lt to LtE": "sets a zero to zero",
    "engine | if f.size and f[0] >= cut and f[-1] >= cut: | comparison: GtE to Gt": (
        "a tie takes the longer way to the same answer"
    ),
}
