"""Measuring whether a bundle is still an invertible flow: the backend matrix, its gates and its report."""

from __future__ import annotations

from .backends import BACKENDS
from .report import VerifyReport
from .settings import VerifySettings
from .table import report_tables
from .verify import verify

__all__ = ["BACKENDS", "VerifyReport", "VerifySettings", "report_tables", "verify"]
