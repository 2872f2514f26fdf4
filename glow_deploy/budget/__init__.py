"""The error budget: decode gain of every step, conditioning of its weights, and the error each precision will show."""

from __future__ import annotations

from .conditioning import Flag
from .gains import measure_gains
from .predict import PRECISIONS, Prediction, predict, predict_precision
from .report import BudgetReport, StepBudget, measure_budget
from .table import budget_table, prediction_table

__all__ = [
    "PRECISIONS",
    "BudgetReport",
    "Flag",
    "Prediction",
    "StepBudget",
    "budget_table",
    "measure_budget",
    "measure_gains",
    "predict",
    "predict_precision",
    "prediction_table",
]
