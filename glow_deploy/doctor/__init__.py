"""What this machine can run, and what to change."""

from .report import Report, examine

__all__ = ["Report", "examine"]
