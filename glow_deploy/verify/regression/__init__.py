"""Today's verification against a stored one: has anything got worse, whatever the absolute limits say?"""

from glow_deploy.verify.report.baseline import BaselineReport, Comparison, RowComparison

from .baseline import Baseline, Identity, read_baseline
from .compare import DEFAULT_FACTOR, check_factor, compare
from .table import baseline_table

__all__ = [
    "DEFAULT_FACTOR",
    "Baseline",
    "BaselineReport",
    "Comparison",
    "Identity",
    "RowComparison",
    "baseline_table",
    "check_factor",
    "compare",
    "read_baseline",
]
