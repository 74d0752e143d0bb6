"""Why a surviving mutant is no gap in the tests: it changes nothing that can be seen."""

_PRECISION = "a precision: twice or half of it moves no boundary"
_SPEED = "chooses the quicker of two ways to the same numbers"
_ROUNDING = "only rounding in the last bits leads beyond this end"
_NO_TIE = "no pair of floats that can be reached is equal here"
_LARGER_STEPS = "a search in other steps ends at the same place"
_REPLACED = "replaced by the first look before anybody reads it"
_BEYOND = "one place more or less, nine standard deviations out"
_FOLLOWED = "more of what has no chance is followed: slower, the same law"
_SCALE = "falls out when the law is divided by its sum"
_ANEW = "counts all anew more often: slower, the same numbers"
_BISECTION = "one halving of a bisection more or less"

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
    "advice | return Reading.BETTER if self.difference > 0 else Reading.WORSE"
    " | comparison: Gt to GtE": "a difference of exactly 0 has a probability of 1",
    "comparison | if differs and loss < 0: | comparison: Lt to LtE": (
        "a difference of exactly 0 has a probability of 1"
    ),
    'phrases | limit = f"{limit_ms / _SECOND_MS:.2f} s" if limit_ms >= _SECOND_MS else'
    ' f"{limit_ms:.0f} ms" | comparison: GtE to Gt': "no power of 1.02 is 1,000",
    "paired | return error if error >= _NO_SPREAD else 0.0 | comparison: GtE to Gt": _NO_TIE,
    "paired | _NO_SPREAD = 1e-12 | constant: 1e-12 to 2e-12": _PRECISION,
    "paired | _CASES_MAX = 10**9 | constant: 9 to 10": "gives up on billions of cases later",
    "paired | _CASES_MAX = 10**9 | constant: 10 to 11": "gives up on billions of cases later",
    "paired | if enough > _CASES_MAX: | comparison: Gt to GtE": (
        "gives up on a billion of cases one doubling earlier"
    ),
    "planning | while not (seconds > limit_seconds or found(seconds)):"
    " | comparison: Gt to GtE": "a tie asks the same question once more",
    "planning | while _binomial_head(events, high, extra) > beta:"
    " | comparison: Gt to GtE": _LARGER_STEPS,
    "proportions | return min(1.0, float(law.p[law.p <= law.p[place] * _TIE].sum()))"
    " | comparison: LtE to Lt": _NO_TIE,
    "proportions | if falls(middle) > 0: | comparison: Gt to GtE": (
        "a middle that is the crossing itself is reached from both sides"
    ),
    "ranks | if self._first.values.size * self._second.values.size <= _PAIRS_DIRECT:"
    " | comparison: LtE to Lt": _SPEED,
    "ranks | _PAIRS_DIRECT = 1_000_000  # more differences than these are counted, not listed"
    " | constant: 1000000 to 1000001": _SPEED,
    "ranks | _BISECTIONS = 64 | constant: 64 to 65": _PRECISION,
    "ranks | enough = max(1, math.ceil(quantile * size - 1e-9 * size))"
    " | constant: 1e-09 to 2e-09": _PRECISION,
    "sign_flips | _DIGITS = 12  # of a probability; beyond them a convolution by FFT is noise"
    " | constant: 12 to 13": _PRECISION,
    "sign_flips | loss, gain = law.p[max(0, seen) :].sum(), law.p[: max(0, seen + 1)].sum()"
    " | constant: 0 to 1": "the end of a law that was cut holds less than a record keeps",
    "sign_flips | return Chances(*(min(1.0, round(float(chance), _DIGITS)) for chance in"
    " (loss, gain))) | constant: 1.0 to 2.0": _ROUNDING,
    "sign_flips | middle = changed.size // 2 | arithmetic: FloorDiv to Mult": _SPEED,
    "sign_flips | middle = changed.size // 2 | constant: 2 to 3": _SPEED,
    "sign_flips | sums = np.zeros(1, dtype=np.int64) | constant: 1 to 2": (
        "counts each subset twice, and all of them too"
    ),
    "offline | if count >= math.ceil(plan.coverage * asked - 1e-9): | constant: 1e-09 to 2e-09": (
        _PRECISION
    ),
    "planning | BISECTIONS = 60 | constant: 60 to 61": _PRECISION,
    "planning | if units < 1 or control_units < 1: | boolean: Or to And": (
        "without units in an arm no count is unlikely"
    ),
    "planning | return False | return: returns None": "None is as false",
    "planning | seconds = 1 / units_per_second if units_per_second > 0 else math.inf | constant: 0 to 1": _LARGER_STEPS,
    "planning | seconds = 1 / units_per_second if units_per_second > 0 else math.inf | constant: 1 to 2": _LARGER_STEPS,
    "planning | seconds = 1 / units_per_second if units_per_second > 0 else math.inf | arithmetic: Div to Mult": _LARGER_STEPS,
    "planning | seconds *= 2 | constant: 2 to 3": _LARGER_STEPS,
    "planning | high = max(units_without_events(extra, beta), events + 1) | constant: 1 to 2": (
        _LARGER_STEPS
    ),
    "planning | high *= 2 | constant: 2 to 3": _LARGER_STEPS,
    "planning | x = np.arange(max(0, total - control_units), min(units, total) + 1,"
    " dtype=np.float64) | constant: 1 to 2": "a count that cannot be has a weight of 0",
    "proportions | _BISECTIONS = 60  # halves a difference to well under the nine digits that a"
    " record keeps | constant: 60 to 61": _PRECISION,
    "proportions | _TIE = 1 + 1e-7  # tables as likely as the seen one count as likely, whatever the"
    " last bits say | constant: 1e-07 to 2e-07": _PRECISION,
    "planning | return math.inf | return: returns None": (
        "no rate above 0 has infinite odds to rule out"
    ),
    "proportions | return max(-1.0, difference - below), min(1.0, difference + above)"
    " | constant: 1.0 to 2.0": _ROUNDING,
    "proportions | p2 = min(1.0, max(0.0, p1 - difference)) | constant: 1.0 to 2.0": _ROUNDING,
    "proportions | cosine = v / u**3 if u**3 else 0.0 | arithmetic: Pow to Mult": "both are 0 where u is",
    "proportions | cosine = v / u**3 if u**3 else 0.0 | constant: 3 to 4": "both are 0 where u is",
    "proportions | cosine = v / u**3 if u**3 else 0.0 | constant: 0.0 to 1.0": "where u is 0 its angle plays no part",
    "proportions | low = _crossing(lambda delta: score_z(first, second, delta) - reach, -1.0, seen)"
    " | constant: 1.0 to 2.0": _LARGER_STEPS,
    "proportions | return low, _crossing(lambda delta: score_z(first, second, delta) + reach, seen,"
    " 1.0) | constant: 1.0 to 2.0": _LARGER_STEPS,
    "proportions | angle = (math.pi + math.acos(min(1.0, max(-1.0, cosine)))) / 3"
    " | constant: 1.0 to 2.0": "u has the sign of v, so the cosine is never negative",
    "proportions | return min(1.0, 1 + delta, max(0.0, delta, root)) | constant: 1.0 to 2.0": (
        _ROUNDING
    ),
    "proportions | return min(1.0, 1 + delta, max(0.0, delta, root)) | constant: 1 to 2": _ROUNDING,
    "proportions | return min(1.0, float(law.p[law.p <= law.p[place] * _TIE].sum()))"
    " | constant: 1.0 to 2.0": _ROUNDING,
    "comparison | for (column, value), rate in zip(keys, rates, strict=True)"
    " | constant: True to False": "one loop fills both lists",
    "comparison | for pair, test, p_holm in zip(pairs, tests, adjusted, strict=True):"
    " | constant: True to False": "each is made of the one before",
    "paired | improved=int(np.count_nonzero(differences > 0)), | constant: 0 to 1": _PRECISION,
    "paired | reach: float = 0.0 | constant: 0.0 to 1.0": "whoever makes one says how far it reaches",
    "paired | reach_rare: float = 0.0 | constant: 0.0 to 1.0": (
        "whoever makes one says how far it reaches"
    ),
    "offline_slices | _tell(plan, needed, slice_, next(adjusted) if slice_.loss is not None else 1.0)"
    " | constant: 1.0 to 2.0": "a slice without a case is told without it",
    "offline_slices | for value, member in zip(column.values, members, strict=True):"
    " | constant: True to False": "the members are split by these values",
    "ranks | low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)"
    " | constant: 0.0 to 1.0": "among time-outs alone every difference is 0",
    "ranks | never = high + 2 * self._spread + 1 | constant: 2 to 3": "farther out is as far out",
    "ranks | never = high + 2 * self._spread + 1 | constant: 1 to 2": "farther out is as far out",
    "ranks | if self._first.values.size * self._second.values.size <= _PAIRS_DIRECT:"
    " | arithmetic: Mult to Div": _SPEED,
    "paired | return 0.0 | return: returns None": "None is as false, and one unit asks no further",
    "paired | low: float = -1.0 | constant: 1.0 to 2.0": "cut at the least that is possible anyway",
    "paired | high: float = 1.0 | constant: 1.0 to 2.0": "cut at the most that is possible anyway",
    "paired | int(np.count_nonzero(differences > 0)), | constant: 0 to 1": _PRECISION,
    "paired | short, enough = loss.cases, 2 * loss.cases | constant: 2 to 3": _LARGER_STEPS,
    "paired | short, enough = enough, 2 * enough | constant: 2 to 3": _LARGER_STEPS,
    "weigh | enough = math.ceil(quantile * units - 1e-9 * units) | constant: 1e-09 to 2e-09": (
        _PRECISION
    ),
    "sample_ratio | last = self._slices.rows[-1].slice_index if self._slices.rows else -1"
    " | constant: 1 to 2": "no slice has the index -1 or -2",
    "sample_ratio | return min(found, key=lambda e: e.crossed_at_seconds or 0.0, default=None)"
    " | constant: 0.0 to 1.0": "what was found has a time",
    'probes | return f"{math.ceil(shown * 10**digits - 1e-9) / 10**digits:.{max(0, digits)}f} %"'
    " | constant: 1e-09 to 2e-09": _PRECISION,
    "settling | self.slices: Slices[RateRow] = Slices(gate.stream, (), 0, plan.slice_seconds, None)"
    " | constant: 0 to 1": _REPLACED,
    "means | _STEPS_AT_HOLD = 200  # lattice steps in one standard deviation of the sum at the"
    " hold's end | constant: 200 to 201": _PRECISION,
    "means | _STEPS_LEAST = 2.0  # a gain of information smaller than this waits for more"
    " | constant: 2.0 to 4.0": _PRECISION,
    "means | _REACH_SD = 9 | constant: 9 to 10": _PRECISION,
    "means | places = np.arange(-reach, reach + 1, dtype=np.float64) | arithmetic: Add to Sub": (
        _BEYOND
    ),
    "means | places = np.arange(-reach, reach + 1, dtype=np.float64) | constant: 1 to 2": _BEYOND,
    "means | self._sum += score * units | arithmetic: Add to Sub": "only its square is used",
    "draws | EXACT_PRODUCTS = 10_000_000  # sums that take more are near enough to their first three"
    " moments | constant: 10000000 to 10000001": _PRECISION,
    "draws | _NORMAL_SKEW = 1e-4  # less skew is not told from none | constant: 0.0001 to 0.0002": (
        _PRECISION
    ),
    "draws | most = min(far, int(mean) + 1) | constant: 1 to 2": _FOLLOWED,
    "draws | while most < far and most * math.log(most / mean) - most + mean < _LOG_NEVER:"
    " | comparison: Lt to LtE": _FOLLOWED,
    "draws | odds = draws / (whole - draws) | arithmetic: Sub to Add": (
        "any odds give the same law, these keep its numbers in range"
    ),
    "draws | at_most = _most(whole - steps[common], draws / whole, draws) | arithmetic: Sub to Add": (
        _FOLLOWED
    ),
    "draws | grown = np.zeros((min(at_most, rows - 1 + most) + 1, width + most * abs(away)))"
    " | arithmetic: Sub to Add": _FOLLOWED,
    "draws | grown = np.zeros((min(at_most, rows - 1 + most) + 1, width + most * abs(away)))"
    " | constant: 1 to 2": _FOLLOWED,
    "draws | place = drawn * away if away > 0 else (drawn - most) * away | comparison: Gt to GtE": (
        "no other value is the commonest one, so that none is 0 away from it"
    ),
    "draws | grown[drawn : drawn + kept, place : place + width] += weight * chances[:kept]"
    " | arithmetic: Add to Sub": f"a sign, which {_SCALE}",
    "draws | p = np.exp(logs - logs.max()) | arithmetic: Sub to Add": f"a scale, which {_SCALE}",
    "draws | if abs(skew) < _NORMAL_SKEW: | comparison: Lt to LtE": _PRECISION,
    "draws | inside = from_end > 0 | comparison: Gt to GtE": (
        "the end of the law itself: a density of 0 either way"
    ),
    "shadow | self.sum_old += old * pairs | arithmetic: Add to Sub": "only its square is used",
    "shadow | if needed is None or seconds is None: | boolean: Or to And": (
        "the time is unknown exactly when the pairs are"
    ),
    "shadow | kept_enough = table.pairs >= plan.coverage * copies - 1e-9 | comparison: GtE to Gt": (
        "no copies are a whole number less 1e-9"
    ),
    "shadow | kept_enough = table.pairs >= plan.coverage * copies - 1e-9"
    " | constant: 1e-09 to 2e-09": _PRECISION,
    'slices | RowT_co = TypeVar("RowT_co", bound=Row, covariant=True) | constant: True to False': (
        "for type checkers only"
    ),
    "slices | if self.sealed and len(self.rows) >= coverage * self.sealed - 1e-9:"
    " | comparison: GtE to Gt": "no slices are a whole number less 1e-9",
    "slices | if self.sealed and len(self.rows) >= coverage * self.sealed - 1e-9:"
    " | constant: 1e-09 to 2e-09": _PRECISION,
    "slices | self._sealed = 0 | constant: 0 to 1": _REPLACED,
    "slices | self._checked = 0  # raw rows that need not be checked again | constant: 0 to 1": (
        _REPLACED
    ),
    "slices | self._refused_last = False | constant: False to True": _REPLACED,
    "slices | return False | return: returns None": "None is as false",
    'slices | self._rows, self._sealed, self._checked, self._print = [], 0, 0, b"" | constant: 0 to 1': (
        _REPLACED
    ),
    'slices | return repr(raw)[1:-1].encode(errors="backslashreplace") | constant: 1 to 2': (
        "rows that differ in that bracket only are refused both"
    ),
    "rates | self._stratum: int = 0 | constant: 0 to 1": _REPLACED,
    "rates | self._stratum = 0 | constant: 0 to 1": "the first row sets it, and nothing waited before",
    "rates | self._weighed_to = 0  # strata that are complete | constant: 0 to 1": _REPLACED,
    "rates | return False | return: returns None": "None is as false",
    "rates | return False | constant: False to True": _ANEW,
    "rates | return rows[0].slice_index // self._slices_per_look < self._weighed_to"
    " | comparison: Lt to LtE": _ANEW,
    "rates | if self.proof and self.margin: | boolean: And to Or": "there are both or neither",
    "rates | return cls(*(sum(column) for column in tuple(zip(*rows, strict=True))[1:]))"
    " | constant: True to False": "rows are all of one length",
    "rates | return max(gate.margin_odds or 0.0, _odds(rate + gate.margin_abs) / _odds(rate))"
    " | constant: 0.0 to 1.0": "the other one is over 1",
    "rates | rate = baseline.rate or gate.baseline_rate or 0.0 | constant: 0.0 to 1.0": (
        "neither is between never and always"
    ),
    "rates | _units_for_bound = lru_cache(maxsize=1024)(units_for_bound) | constant: 1024 to 1025": (
        "remembers one more"
    ),
    "bounds | _BISECTIONS = 60  # halves a probability to well under the nine digits that a record"
    " keeps | constant: 60 to 61": _BISECTION,
    "bounds | if bad >= units: | comparison: GtE to Gt": (
        "what is never refuted is bisected to 1 too"
    ),
    "bounds | return _root(lambda rate: binomial_tail_below(bad, units, rate) - level, 0.0, 1.0)"
    " | constant: 1.0 to 2.0": _BISECTION,
    "bounds | short = enough // 2 | constant: 2 to 3": _BISECTION,
    "bounds | return min(1.0, binomial_tail_below(improved, changed, 0.5)) if changed else 1.0"
    " | constant: 1.0 to 2.0": "a tail is 1 at most already",
    "bounds | adjusted = [1.0] * len(ps) | constant: 1.0 to 2.0": "each place is set",
    "bounds | if product > 0: | comparison: Gt to GtE": "0 less something is 0 at least",
    "bounds | return math.copysign(math.inf, gap) if gap else 0.0 | constant: 0.0 to 1.0": (
        "only its sign beside a quantile is asked, and no bisection meets that point"
    ),
    "bounds | low = _root(lambda delta: z - score(delta), -1.0, difference)"
    " | constant: 1.0 to 2.0": _BISECTION,
    "bounds | high = _root(lambda delta: -z - score(delta), difference, 1.0)"
    " | constant: 1.0 to 2.0": _BISECTION,
    "bounds | left_positive = rises_or_falls(low) > 0 | comparison: Gt to GtE": (
        "no function that is bisected is 0 at its left end"
    ),
    "bounds | if (rises_or_falls(middle) > 0) is left_positive: | comparison: Gt to GtE": (
        "exactly at the root: both halves end there"
    ),
    "quality | self._proof.look(end_seconds, z, 1 / error**2) | constant: 1 to 2": (
        "all information is twice as much: only its growth is asked"
    ),
    "quality | if candidate.units and baseline.units: | boolean: And to Or": (
        "an arm without units differs from none"
    ),
    "quality | return -math.inf, False | arithmetic: minus to plus": (
        "only whether it is finite is asked"
    ),
    "quality | return max(1, self._units_short_of_plan() or 0) | constant: 0 to 1": (
        "it is one at least anyway"
    ),
    "engine | c = odds * candidate_units * bad - (good_less + 1) | arithmetic: Add to Sub": _BEYOND,
    "engine | c = odds * candidate_units * bad - (good_less + 1) | constant: 1 to 2": _BEYOND,
    "engine | root = 2 * c / (b + math.sqrt(max(0.0, b * b - 4 * a * c))) | constant: 0.0 to 1.0": (
        "so small only where a law has few places, and all of them are kept"
    ),
    "engine | sd = math.sqrt(1 / sum(1 / (cell + 1) for cell in cells)) | constant: 1 to 2": _BEYOND,
    "engine | total = Law(offset + first, p[first:last] / p[first:last].sum())"
    " | arithmetic: Div to Mult": "the sum is 1 but for what was cut, 1e-18",
    "engine | scaled: FloatArray = f * p[0] | arithmetic: Mult to Div": (
        "the only probability of a law is 1"
    ),
    "engine | points = 1 << (_BLOCK_LAWS * short.size - 1).bit_length() | constant: 1 to 2": _SPEED,
    "engine | points = 1 << (_BLOCK_LAWS * short.size - 1).bit_length() | arithmetic: Sub to Add": (
        _SPEED
    ),
    "engine | g = np.zeros(blocks * step + short.size - 1) | arithmetic: Sub to Add": (
        "room that is cut off again"
    ),
    "draws | width = at_most * (max(steps) - min(steps)) + 1 | arithmetic: Sub to Add": (
        "the least step is 0"
    ),
    "weigh | enough = math.ceil(quantile * units - 1e-9 * units) | arithmetic: Mult to Div": (
        _PRECISION
    ),
    'rates | asks_nothing = {"units": 0, "must": Must.SCREEN} if isinstance(plan, StepPlan) else'
    ' {"units": 0} | constant: 0 to 1': "an arm without a unit is NO_DATA before that is asked",
}
