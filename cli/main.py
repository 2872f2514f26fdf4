"""The `glow-deploy` command: every subcommand in one place, and what its errors turn into.

The command files import nothing heavy; whatever a command needs is imported inside it, so that `--help` stays fast.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .bench import bench
from .coding import decode, encode
from .demo import demo
from .doctor import doctor
from .errors import DEBUG_VARIABLE, exit_codes
from .export import compile_, export
from .inspect import inspect
from .sample import sample
from .train import train
from .verify import verify

__all__ = ["app", "run"]


class _Command(TyperCommand):
    """A command with our errors and exit codes around what it does; parsing keeps Typer's own."""

    def invoke(self, ctx: Any) -> Any:
        with exit_codes():
            return super().invoke(ctx)


app = typer.Typer(
    name="glow-deploy",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done; 1 a model judged unsound; 2 bad input, or a missing file, package or device; "
        "70 a bug of glow-deploy; 130 Ctrl-C. Each command has its own --help."
    ),
)


def _show_version(value: bool) -> None:
    if value:
        from glow_deploy import __version__

        typer.echo(f"glow-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take a trained Glow to verified engines: ONNX and TensorRT, still invertible.

    New here? [b]glow-deploy demo[/b] goes the whole way in minutes on a CPU.
    """


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "From images to engines": (demo, train, export, compile_),
    "Is it still a flow?": (verify, bench),
    "Use an engine": (sample, encode, decode),
    "Look": (inspect, doctor),
}
for _title, _functions in _PANELS.items():
    for _function in _functions:
        app.command(_function.__name__.rstrip("_"), cls=_Command, rich_help_panel=_title)(_function)


def run() -> None:
    """Entry point of the console script."""
    with exit_codes():
        if not sys.warnoptions and not os.environ.get(DEBUG_VARIABLE):
            # Libraries warn about their own insides; a user of the command can do nothing about it.
            warnings.simplefilter("ignore")
        app(prog_name="glow-deploy")
