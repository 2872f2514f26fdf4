"""The package `pyarrow`, imported where it is needed."""

from __future__ import annotations

from typing import Any

from glow_deploy.errors import MissingDependencyError

__all__ = ["import_arrow"]


def import_arrow(purpose: str) -> Any:
    """Import `pyarrow` with its reader and writer of Parquet files.

    Args:
        purpose: what needs it, for the message.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(f"{purpose} needs the package pyarrow: pip install 'glow-deploy[ray]'") from error
    return pyarrow
