"""Encoding, scoring, sampling and editing over data sets that no single process holds: shards in, shards out."""

from __future__ import annotations

from .run import BulkResult, run_bulk
from .settings import Action, BulkSettings, Where

__all__ = ["Action", "BulkResult", "BulkSettings", "Where", "run_bulk"]
