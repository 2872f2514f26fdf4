"""Exceptions to exit codes: one clear line on stderr, and no traceback unless asked for.

0 done; 1 a model judged unsound; 2 bad input, checksum mismatch, missing file, package or hardware; 70 a bug of ours;
130 Ctrl-C; 141 whoever read our output went away.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from glow_core.errors import GlowCoreError
from glow_deploy.errors import GlowDeployError
from glow_deploy.spelling import on_command_line

__all__ = ["BUG", "CLOSED_PIPE", "DEBUG_VARIABLE", "INTERRUPTED", "exit_codes", "option_names"]

BUG = 70
INTERRUPTED = 130
CLOSED_PIPE = 141
DEBUG_VARIABLE = "GLOW_DEPLOY_DEBUG"

# Optional package -> the extra that installs it. `train` for torch: exporting needs it as well.
_EXTRAS = {
    "torch": "train",
    "lightning_fabric": "train",
    "tensorboard": "train",
    "datasets": "train",
    "tensorrt_rtx": "rtx",
    "cuda": "rtx",
    "tensorrt": "tensorrt",
    "matplotlib": "report",
    "jinja2": "report",
}


def option_names(ctx: Any) -> dict[str, str]:
    """Return how each option of a command is spelt, by the name of its parameter: `{"classes": "--class"}`.

    Args:
        ctx: the command's context.
    """
    own = {item.name: item.opts[0] for item in ctx.command.params if item.opts and item.opts[0].startswith("--")}
    return own | {name: own[singular] for name, singular in _PLURALS.items() if singular in own}


# Options that may be repeated are one list in Python.
_PLURALS = {"backends": "backend", "gpus": "gpu"}


@contextmanager
def exit_codes(options: Mapping[str, str] | None = None) -> Iterator[None]:
    """Turn whatever the block raises into one line on stderr and the right `SystemExit`.

    Args:
        options: of `option_names`, to spell the options that a message names as on the command line.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise  # Typer's own ways to end, with its own exit codes
    except (GlowDeployError, GlowCoreError) as error:
        _stop(on_command_line(str(error), options or {}), error.exit_code)
    except KeyboardInterrupt:
        _stop("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Nobody reads any more (`glow-deploy inspect x | head -1`). Python would complain again while it flushes at
        # exit, so what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(CLOSED_PIPE) from None
    except OSError as error:
        if error.filename is None:
            _bug(error)
        _stop(f"{error.filename}: {error.strerror or error}; check the path and its permissions", 2)
    except ImportError as error:
        package = _missing_package(error)
        if package is None:
            _bug(error)
        extra = _EXTRAS[package]
        _stop(
            f"this command needs {package}, which cannot be imported ({error}); "
            f"install it: pip install 'glow-deploy[{extra}]'",
            2,
        )
    except Exception as error:
        _bug(error)


def _missing_package(error: ImportError) -> str | None:
    # An import hook that blocks a package may leave `name` empty; the message then has it in quotes.
    name = (error.name or "").partition(".")[0]
    return next((package for package in _EXTRAS if package == name or f"'{package}'" in str(error)), None)


def _stop(message: str, code: int) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(code) from None


def _bug(error: BaseException) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    command = shlex.join(["glow-deploy", *sys.argv[1:]])
    print(
        f"error: {type(error).__name__}: {error}\n"
        "This is a bug in glow-deploy, not in your input. Please report it in the project's issue tracker with the "
        f"output of\n  {DEBUG_VARIABLE}=1 {command}\n  glow-deploy doctor",
        file=sys.stderr,
    )
    raise SystemExit(BUG) from None
