"""Named runs: configuration, run, ledger record, table."""

from vlalign_lib.experiments._compare import Comparison, compare_methods, holm
from vlalign_lib.experiments._experiment import Case, Experiment, Measurement, SettingError, Table
from vlalign_lib.experiments._ledger import (
    ledger_dirs,
    load_records,
    results_dir,
)
from vlalign_lib.experiments._own import score_method
from vlalign_lib.experiments._paired import paired_difference
from vlalign_lib.experiments._processes import RunInProgress
from vlalign_lib.experiments._record import (
    Estimate,
    LedgerError,
    Record,
    array_hash,
    config_hash,
)
from vlalign_lib.experiments._refit import refit
from vlalign_lib.experiments._registry import (
    EXPERIMENTS,
    get_experiment,
    is_stale,
    stale_reason,
)
from vlalign_lib.experiments._run import RunReport, run
from vlalign_lib.experiments._table import table

__all__ = [
    "EXPERIMENTS",
    "Case",
    "Comparison",
    "Estimate",
    "Experiment",
    "LedgerError",
    "Measurement",
    "Record",
    "RunInProgress",
    "RunReport",
    "SettingError",
    "Table",
    "array_hash",
    "compare_methods",
    "config_hash",
    "get_experiment",
    "holm",
    "is_stale",
    "ledger_dirs",
    "load_records",
    "paired_difference",
    "refit",
    "results_dir",
    "run",
    "score_method",
    "stale_reason",
    "table",
]
