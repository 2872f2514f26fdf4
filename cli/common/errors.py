"""Exceptions to exit codes: one clear line on stderr, and no traceback unless asked for.

0 done; 1 a model judged unsound; 2 bad input, checksum mismatch, missing file, package or hardware; 70 a bug of ours;
130 Ctrl-C; 143 SIGTERM; 141 whoever read our output went away.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import typer

from glow_core.errors import GlowCoreError
from glow_deploy.errors import GlowDeployError, UsageError
from glow_deploy.printable import one_line
from glow_deploy.spelling import on_command_line

from .signals import received_signal, tell_signal
from .streams import drop_output, print_error, system_trouble

__all__ = [
    "BUG",
    "CLOSED_PIPE",
    "DEBUG_VARIABLE",
    "INTERRUPTED",
    "exit_codes",
    "json_target",
    "option_names",
    "write_error",
]

BUG = 70
INTERRUPTED = 130
CLOSED_PIPE = 141
DEBUG_VARIABLE = "GLOW_DEPLOY_DEBUG"

# Optional package -> the extra that installs it. `train` for torch: exporting needs it as well.
_EXTRAS = {
    "onnxruntime": "cpu",
    "torch": "train",
    "lightning_fabric": "train",
    "tensorboard": "train",
    "datasets": "train",
    "tensorrt_rtx": "rtx",
    "cuda": "rtx",
    "tensorrt": "tensorrt",
    "matplotlib": "report",
    "jinja2": "report",
    "model_signing": "sign",
    "ray": "ray",
    "pyarrow": "ray",
}
_OTHERWISE = {"onnxruntime": ", or 'glow-deploy[gpu]' for an NVIDIA GPU"}


def option_names(ctx: Any) -> dict[str, str]:
    """Return how each option of a command is spelt, by the name of its parameter: `{"classes": "--class"}`.

    Args:
        ctx: the command's context.
    """
    own = {item.name: item.opts[0] for item in ctx.command.params if item.opts and item.opts[0].startswith("--")}
    return {name: own[singular] for name, singular in _PLURALS.items() if singular in own} | own


# Options that may be repeated are one list in Python, and classes are labels there.
_PLURALS = {"backends": "backend", "gpus": "gpu", "labels": "classes"}


def json_target(arguments: Sequence[str]) -> str | None:
    """Find what `--json` was given in arguments that may not parse."""
    for place, word in enumerate(arguments):
        if word == "--json":
            return arguments[place + 1] if place + 1 < len(arguments) else None
        if word.startswith("--json="):
            return word.removeprefix("--json=")
    return None


def write_error(target: str | None, *, kind: str, message: str, code: int) -> None:
    """Write an error to stdout as JSON (docs/schemas/error.schema.json), where `--json -` asks for JSON there.

    A file that `--json` names keeps what an earlier run left in it.

    Args:
        target: as given with `--json`.
        kind: of error, the name of the exception.
        message: one line.
        code: exit status.
    """
    from .console import write_document

    if target == "-":
        write_document(target, {"error": {"kind": kind, "message": message, "exit_code": code}}, schema="error")


class _Exit:
    """How a command that failed ends: a line on stderr, and an object where its `--json` said."""

    def __init__(self, options: Mapping[str, str], json: str | None) -> None:
        self._options = options
        self._json = json

    def stop(self, error: BaseException, message: str, code: int) -> NoReturn:
        """Say what is wrong in one line and end."""
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        line = one_line(on_command_line(message, self._options))
        print_error(f"error: {line}")
        self.write(error, line, code)
        raise SystemExit(code) from None

    def bug(self, error: BaseException) -> NoReturn:
        """Say that it is our fault, and how to report it."""
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        command = shlex.join(["glow-deploy", *sys.argv[1:]])
        print_error(
            f"error: {one_line(f'{type(error).__name__}: {error}')}\n"
            "This is a bug in glow-deploy, not in your input. Please report it in the project's issue tracker with the "
            f"output of\n  {DEBUG_VARIABLE}=1 {command}\n  glow-deploy doctor"
        )
        self.write(error, one_line(f"{type(error).__name__}: {error}"), BUG)
        raise SystemExit(BUG) from None

    def write(self, error: BaseException, message: str, code: int) -> None:
        """Write the error object, unless the command has written its result already: a verdict is one."""
        from .console import RESULT_WRITTEN

        if RESULT_WRITTEN.get():
            return
        with suppress(OSError, UsageError):  # what went wrong may be the very place that it would go to
            write_error(self._json, kind=type(error).__name__, message=message, code=code)


@contextmanager
def exit_codes(options: Mapping[str, str] | None = None, json: str | None = None) -> Iterator[None]:
    """Turn whatever the block raises into one line on stderr and the right `SystemExit`.

    Args:
        options: of `option_names`, to spell the options that a message names as on the command line.
        json: where an error object is to go, as given with `--json`; None for nowhere.
    """
    try:
        yield
    except Exception as error:
        number = received_signal()
        if number is None:
            _tell(error, options or {}, json)
        if isinstance(error, typer.Exit) and error.exit_code == 128 + number:
            tell_signal(number)  # the command has said so in its own words
            raise
        _interrupted(error, json)  # a library made something else of it
    except KeyboardInterrupt as error:
        _interrupted(error, json)


def _tell(error: Exception, options: Mapping[str, str], json: str | None) -> NoReturn:
    try:
        raise error
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise  # Typer's own ways to end, with its own exit codes
    except (GlowDeployError, GlowCoreError) as error:
        _Exit(options, json).stop(error, str(error), error.exit_code)
    except BrokenPipeError:
        drop_output()  # nobody reads any more (`glow-deploy inspect x | head -1`)
        raise SystemExit(CLOSED_PIPE) from None
    except OSError as error:
        end = _Exit({}, json)
        trouble = system_trouble(error)
        if trouble is not None:
            drop_output()
            end.stop(error, trouble, 2)
        if error.filename is None:
            end.bug(error)
        end.stop(error, f"{error.filename}: {error.strerror or error}; check the path and its permissions", 2)
    except ImportError as error:
        package = _missing_package(error)
        end = _Exit({}, json)
        if package is None:
            end.bug(error)
        end.stop(
            error,
            f"this command needs {package}, which cannot be imported ({error}); "
            f"install it: pip install 'glow-deploy[{_EXTRAS[package]}]'{_OTHERWISE.get(package, '')}",
            2,
        )
    except Exception as error:
        _Exit({}, json).bug(error)


def _interrupted(error: BaseException, json: str | None) -> NoReturn:
    number = received_signal() or signal.SIGINT
    _Exit({}, json).stop(error, tell_signal(number), 128 + number)


def _missing_package(error: ImportError) -> str | None:
    # An import hook that blocks a package may leave `name` empty; the message then has it in quotes.
    name = (error.name or "").partition(".")[0]
    return next((package for package in _EXTRAS if package == name or f"'{package}'" in str(error)), None)
