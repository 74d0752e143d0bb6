"""Imports eval result files, JSON lines and CSV, as paired cases for the offline gate."""

from rampway.adapters.evals_files.pairs import Incomparable, pair_evals
from rampway.adapters.evals_files.rows import EvalFileError

__all__ = ["EvalFileError", "Incomparable", "pair_evals"]
