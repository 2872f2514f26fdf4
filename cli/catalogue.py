"""Every subcommand by name, imported and built only when it is the one to run.

`--help` of the whole tool needs a name and a sentence for each, not the options of all of them.
"""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .common.console import RESULT_WRITTEN
from .common.errors import exit_codes, json_target, option_names, write_error
from .common.signals import received_signal, tell_signal
from .common.streams import check_folder, print_error
from .common.usage import is_usage_error, usage_message

__all__ = ["COMMANDS", "Commands", "load"]

_MAKE, _JUDGE, _USE, _LOOK = "From images to engines", "Is it still a flow?", "Use an engine", "Look"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a command is, and how the overview shows it.

    Attributes:
        module: below this package.
        function: in that module.
        summary: the first sentence of its docstring.
        panel: heading in the overview.
        examples: command lines shown below its options, on the files that `demo` leaves and pictures of one's own.
    """

    module: str
    function: str
    summary: str
    panel: str
    examples: tuple[str, ...]


COMMANDS = {
    "demo": Entry(
        module="commands.demo",
        function="demo",
        summary="Go the whole way in minutes on a CPU: train on embedded faces, export, compile, verify, sample.",
        panel=_MAKE,
        examples=("glow-deploy demo --out demo-out",),
    ),
    "train": Entry(
        module="commands.train",
        function="train",
        summary="Train a Glow by maximum likelihood and leave a checkpoint that `export` takes.",
        panel=_MAKE,
        examples=(
            "glow-deploy train --data faces --out run --levels 2 --steps 8 --width 64 --n-bits 5 --max-steps 200",
            "glow-deploy train --resume run --max-steps 300",
        ),
    ),
    "export": Entry(
        module="commands.export",
        function="export",
        summary="Turn a checkpoint into a bundle: encoder.onnx, decoder.onnx, golden vectors and a manifest.",
        panel=_MAKE,
        examples=(
            "glow-deploy export demo-out/ckpt.pt",
            "glow-deploy export demo-out/ckpt.pt --precision auto --out auto-bundle",
        ),
    ),
    "convert": Entry(
        module="commands.convert",
        function="convert",
        summary="Write another project's checkpoint as one of this tool's own, to train on or to keep.",
        panel=_MAKE,
        examples=("glow-deploy convert model_100001.pt --image-size 64 --n-bits 5 --out native.pt",),
    ),
    "compile": Entry(
        module="commands.compile",
        function="compile_",
        summary="Compile a bundle's graphs into TensorRT plans, each with a sidecar that vouches for it.",
        panel=_MAKE,
        examples=("glow-deploy compile demo-out/bundle --flavor rtx --force",),
    ),
    "sign": Entry(
        module="commands.sign",
        function="sign",
        summary="Sign every file of a bundle, plans included, so that nobody else can change one unnoticed.",
        panel=_MAKE,
        examples=(
            "glow-deploy sign demo-out/bundle --key private.pem --force",
            "glow-deploy sign demo-out/bundle --key release.pem --certificate chain.pem --force",
        ),
    ),
    "triton": Entry(
        module="commands.triton",
        function="triton",
        summary="Write a bundle as a model repository for Triton Inference Server.",
        panel=_MAKE,
        examples=(
            "glow-deploy triton demo-out/bundle --out repository",
            "glow-deploy triton demo-out/bundle --out repository --backend python --device cpu --force",
        ),
    ),
    "hub": Entry(
        module="commands.hub",
        function="hub",
        summary="Put a bundle on the Hugging Face Hub with a model card, or fetch one and check it.",
        panel=_MAKE,
        examples=(
            "glow-deploy hub push demo-out/bundle OWNER/NAME --license mit",
            "glow-deploy hub pull OWNER/NAME bundle",
        ),
    ),
    "verify": Entry(
        module="commands.verify",
        function="verify",
        summary="Measure whether a bundle is still an invertible flow, on every pair of backends.",
        panel=_JUDGE,
        examples=(
            "glow-deploy verify demo-out/bundle",
            "glow-deploy verify demo-out/bundle --ckpt demo-out/ckpt.pt --data faces --report report.html",
        ),
    ),
    "golden": Entry(
        module="commands.golden",
        function="golden",
        summary="Write what to feed to a program elsewhere, so that `verify --outputs` can judge what it made of it.",
        panel=_JUDGE,
        examples=("glow-deploy golden demo-out/bundle --inputs golden-in",),
    ),
    "bench": Entry(
        module="commands.bench",
        function="bench",
        summary="Measure latency and images per second on every backend usable here.",
        panel=_JUDGE,
        examples=("glow-deploy bench demo-out/bundle --batch 1,16",),
    ),
    "sample": Entry(
        module="commands.sample",
        function="sample",
        summary="Draw samples from a decoder and write them as PNG or NPZ.",
        panel=_USE,
        examples=(
            "glow-deploy sample demo-out/bundle -n 64 --temperature 0.7 -o samples.png",
            "glow-deploy sample --engine decoder.trt -n 16",
        ),
    ),
    "encode": Entry(
        module="commands.encode",
        function="encode",
        summary="Turn pictures into latents with their exact likelihood.",
        panel=_USE,
        examples=("glow-deploy encode demo-out/bundle demo-out/faces -o latents.npz",),
    ),
    "decode": Entry(
        module="commands.decode",
        function="decode",
        summary="Turn latents back into pictures.",
        panel=_USE,
        examples=("glow-deploy decode demo-out/bundle latents.npz -o decoded/",),
    ),
    "score": Entry(
        module="commands.score",
        function="score",
        summary="Measure how likely and how typical pictures are under the model, to find those that do not belong.",
        panel=_USE,
        examples=("glow-deploy score demo-out/bundle demo-out/faces -o scores.csv",),
    ),
    "interpolate": Entry(
        module="commands.interpolate",
        function="interpolate",
        summary="Show what lies between two pictures, or four, in a model's latents.",
        panel=_USE,
        examples=(
            "glow-deploy interpolate demo-out/bundle demo-out/faces/face-00.png demo-out/faces/face-01.png "
            "-o between.png",
        ),
    ),
    "directions": Entry(
        module="commands.directions",
        function="directions",
        summary="Find the directions of attributes in a model's latents, and how far they carry.",
        panel=_USE,
        examples=("glow-deploy directions demo-out/bundle --data faces -o directions.npz",),
    ),
    "edit": Entry(
        module="commands.edit",
        function="edit",
        summary="Add attributes to pictures or remove them: smiles, hats, whatever `directions` was shown.",
        panel=_USE,
        examples=(
            "glow-deploy edit demo-out/bundle demo-out/faces/face-00.png --directions directions.npz "
            "--attribute smiling=1 -o edited.png",
        ),
    ),
    "inpaint": Entry(
        module="commands.inpaint",
        function="inpaint",
        summary="Fill in missing pixels of a picture, so that the model finds the whole likely.",
        panel=_USE,
        examples=("glow-deploy inpaint demo-out/ckpt.pt demo-out/faces/face-00.png --box 4,4,8,8 -o filled.png",),
    ),
    "project": Entry(
        module="commands.project",
        function="project",
        summary="Bring a noisy, damaged or foreign picture to the nearest one that the model finds likely.",
        panel=_USE,
        examples=("glow-deploy project demo-out/ckpt.pt demo-out/faces/face-00.png -o projected.png",),
    ),
    "bulk": Entry(
        module="commands.bulk",
        function="bulk",
        summary="Encode, score, sample or edit data sets that no single process holds, into shards with an index.",
        panel=_USE,
        examples=(
            "glow-deploy bulk encode demo-out/bundle demo-out/faces --draws 1 --format npz -o latents",
            "glow-deploy bulk sample demo-out/bundle -n 1000000 --engine ray --workers 64 -o samples",
        ),
    ),
    "serve": Entry(
        module="commands.serve",
        function="serve",
        summary="Serve a bundle over the Open Inference Protocol (KServe v2): encoder, decoder, scoring, sampling.",
        panel=_USE,
        examples=("glow-deploy serve demo-out/bundle --port 8000",),
    ),
    "explore": Entry(
        module="commands.explore",
        function="explore",
        summary="Serve a local page that shows what a bundle makes of a picture, and decodes live while its latents "
        "are changed.",
        panel=_LOOK,
        examples=("glow-deploy explore demo-out/bundle",),
    ),
    "web": Entry(
        module="commands.web",
        function="web",
        summary="Write a folder of static files that runs a bundle in the visitor's browser, on any web server.",
        panel=_LOOK,
        examples=("glow-deploy web demo-out/bundle --out site",),
    ),
    "inspect": Entry(
        module="commands.inspect",
        function="inspect",
        summary="Show what a file is and what is in it, without running it.",
        panel=_LOOK,
        examples=("glow-deploy inspect demo-out/bundle",),
    ),
    "doctor": Entry(
        module="commands.doctor",
        function="doctor",
        summary="Show what this machine can run, and what to change.",
        panel=_LOOK,
        examples=("glow-deploy doctor",),
    ),
}


class _Command(TyperCommand):
    """A command with our errors and exit codes around what it does."""

    def invoke(self, ctx: Any) -> Any:
        RESULT_WRITTEN.set(False)
        with exit_codes(option_names(ctx), ctx.params.get("json")):
            check_folder()
            return super().invoke(ctx)


class Commands(TyperGroup):
    """The group of all commands: outlines for the overview, the real one once it is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, entry in COMMANDS.items():
            self.commands[name] = _Command(name, help=entry.summary, rich_help_panel=entry.panel)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; what the parser refuses is told like every other error."""
        given = sys.argv[1:] if args is None else list(args)
        try:
            code = super().main(given, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.Abort:
            if not standalone_mode:
                raise
            number = received_signal() or signal.SIGINT
            print_error(f"error: {tell_signal(number)}")
            raise SystemExit(128 + number) from None
        except Exception as error:
            if not (standalone_mode and is_usage_error(error)):
                raise
            called = given[0] if given and given[0] in COMMANDS else ""
            message = usage_message(error, program=f"glow-deploy {called}".rstrip())
            print_error(f"error: {message}")
            write_error(json_target(given), kind="UsageError", message=message, code=2)
            raise SystemExit(2) from None
        if not standalone_mode:
            return code
        raise SystemExit(code if isinstance(code, int) else 0)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Draw the overview."""
        from .overview import option_rows, show_overview

        panels: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            panels.setdefault(entry.panel, []).append((name, entry.summary))
        show_overview(
            usage=f"{ctx.command_path} [OPTIONS] COMMAND [ARGS]...",
            words=inspect.cleandoc(self.help or ""),
            options=option_rows(self.get_params(ctx)),
            panels=panels,
            epilog=self.epilog or "",
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Build the command that `args` names before it parses the rest."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Import a command and build it with its options.

    Raises:
        KeyError: there is no such command.
    """
    entry = COMMANDS[name]
    function: Callable[..., None] = getattr(importlib.import_module(f".{entry.module}", __package__), entry.function)
    alone = typer.Typer(
        add_completion=False, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
    )
    alone.command(name, cls=_Command, help=_flowing(function), epilog=_shown(entry.examples))(function)
    return typer.main.get_command(alone)


def _flowing(function: Callable[..., None]) -> str:
    """The docstring with each paragraph on one line, so that the terminal breaks it and not the source."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _shown(examples: Sequence[str]) -> str:
    """The examples as the last paragraphs of a command's help, one a line."""
    return "\n\n".join(["Examples:" if len(examples) > 1 else "Example:", *(f"  {line}" for line in examples)])
