"""Imports eval result files of the known tools as paired cases for the offline gate."""

from rampway.adapters.evals_files.comparing import Incomparable
from rampway.adapters.evals_files.files import EvalFileError
from rampway.adapters.evals_files.pairs import ArmTotals, PairedEvals, pair_evals

__all__ = ["ArmTotals", "EvalFileError", "Incomparable", "PairedEvals", "pair_evals"]
