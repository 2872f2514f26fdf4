"""Which options can be given together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

import typer

from .length import LengthOptions
from .model import ModelOptions

__all__ = ["given_options", "left_on_resume", "refuse_on_resume", "refuse_with_init"]

_SHAPE = {field.name for field in fields(ModelOptions)}
_WITH_RESUME = {
    "resume",
    "data",
    "resize",
    "skip_unreadable",
    "device",
    "threads",
    "memory",
    "accumulate",
    "dry_run",
    "json",
    "quiet",
} | {field.name for field in fields(LengthOptions)}


def given_options(context: typer.Context) -> set[str]:
    """Return the options that were written on the command line."""
    # The source is compared by name: Typer does not export its type.
    return {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") not in ("DEFAULT", "DEFAULT_MAP")
    }


def refuse_on_resume(given: set[str]) -> None:
    """Refuse what a resumed run would ignore.

    Raises:
        UsageError: some of it was given.
    """
    from glow_deploy.errors import UsageError

    if "out" in given:
        raise UsageError("--resume RUN writes to RUN; leave --out away")
    fixed = given - _WITH_RESUME
    if fixed:
        raise UsageError(
            f"a resumed run keeps its own settings: leave {_spelt(fixed)} away, or start a new run with --out"
        )


def left_on_resume(given: set[str]) -> set[str]:
    """Return those options that mean something to a resumed run."""
    return given & _WITH_RESUME


def refuse_with_init(given: set[str]) -> None:
    """Refuse what would describe another model than the one to start from, and a choice between no weights.

    Raises:
        UsageError: some of it was given.
    """
    from glow_deploy.errors import UsageError

    if "init" not in given:
        if "weights" in given:
            raise UsageError("--weights chooses among the weights of a checkpoint to start from; give --init CKPT too")
        return
    fixed = given & _SHAPE
    if fixed:
        raise UsageError(
            f"the model of --init keeps its own shape: leave {_spelt(fixed)} away, or start without --init"
        )


def _spelt(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in sorted(names))
