"""The report of a verification for a terminal: the answer first, then the tables, narrow enough for 80 columns."""

from __future__ import annotations

from .answer import answer_line
from .table import report_tables

__all__ = ["answer_line", "report_tables"]
