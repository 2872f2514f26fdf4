"""The `glow-deploy` command: the overview, the version, and the entry point."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

from .catalogue import Commands
from .common.errors import DEBUG_VARIABLE, exit_codes
from .common.signals import ended_by_signals
from .common.streams import flush_output, prepare_streams
from .common.terminal import encode_anything

__all__ = ["app", "run"]

app = typer.Typer(
    name="glow-deploy",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done; 1 a model judged unsound; 2 bad input, or a missing file, package or device; "
        "70 a bug of glow-deploy; 130 Ctrl-C; 143 SIGTERM. Each command has its own --help."
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


def run() -> None:
    """Entry point of the console script."""
    encode_anything()
    prepare_streams()
    with ended_by_signals(), exit_codes():
        if not sys.warnoptions and not os.environ.get(DEBUG_VARIABLE):
            # Libraries warn about their own insides; a user of the command can do nothing about it.
            warnings.simplefilter("ignore")
        try:
            app(prog_name="glow-deploy")
        finally:
            flush_output()
