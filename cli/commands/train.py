"""`glow-deploy train`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.console import Output
from ..common.openmp import wait_briefly
from ..common.options import Data, Force, Json, Quiet, Resize, parse_size
from ..common.train_inputs import given_options, load_initial, load_pair, new_config, refuse_on_resume, refuse_with_init
from ..common.training import Reporter, SampleGrids

if TYPE_CHECKING:
    from glow_core.training import TrainResult

_TERMINATED = 143  # as the shell reports a process that SIGTERM ended
_MODEL, _OPTIMIZATION, _LENGTH, _FILES = "Model", "Optimization", "How long", "What is written"
_DEPLOYABLE = "Made to be deployed"


def train(
    context: typer.Context,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run: ckpt.pt, logs, samples.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run; its own settings hold.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init", metavar="CKPT", help="Start from the weights of this tool's checkpoint; its model's shape holds."
        ),
    ] = None,
    weights: Annotated[
        Literal["ema", "raw"], typer.Option(help="Of --init: averaged where there are any, or those trained.")
    ] = "ema",
    max_steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Optimizer steps, from the start of the run.", rich_help_panel=_LENGTH),
    ] = None,
    max_epochs: Annotated[
        float | None, typer.Option(metavar="X", help="Passes over the images.", rich_help_panel=_LENGTH)
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(metavar="X", help="Training time, earlier sessions included.", rich_help_panel=_LENGTH),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Default: the size of the images.", rich_help_panel=_MODEL),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(metavar="N", help="1 or 3. Default: as the images.", rich_help_panel=_MODEL)
    ] = None,
    levels: Annotated[int, typer.Option(metavar="N", min=1, help="L: squeezes.", rich_help_panel=_MODEL)] = 3,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="K: steps of flow per level.", rich_help_panel=_MODEL)
    ] = 32,
    width: Annotated[
        int, typer.Option(metavar="N", min=1, help="Hidden channels of a coupling.", rich_help_panel=_MODEL)
    ] = 512,
    coupling: Annotated[Literal["affine", "additive"], typer.Option(rich_help_panel=_MODEL)] = "affine",
    permutation: Annotated[
        Literal["lu", "plain", "shuffle", "reverse"],
        typer.Option(help="lu and plain are invertible 1x1 convolutions.", rich_help_panel=_MODEL),
    ] = "lu",
    bounded_scale: Annotated[
        bool,
        typer.Option(
            "--bounded-scale/--unbounded-scale",
            help="Affine scale in (0.5, 1): keeps samples finite.",
            rich_help_panel=_MODEL,
        ),
    ] = True,
    n_bits: Annotated[int, typer.Option(metavar="N", min=1, max=8, help="Pixel depth.", rich_help_panel=_MODEL)] = 8,
    edge_bias: Annotated[
        bool,
        typer.Option(
            "--edge-bias/--no-edge-bias",
            help="Convolutions know the border, as the paper's code pads.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    prior: Annotated[
        Literal["conditional", "independent"],
        typer.Option(help="Of a split's latent: given what goes on, or of its own.", rich_help_panel=_MODEL),
    ] = "conditional",
    class_conditional: Annotated[
        bool, typer.Option("--class-conditional", help="Condition on the images' labels.", rich_help_panel=_MODEL)
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, rich_help_panel=_OPTIMIZATION)] = 64,
    optimizer: Annotated[Literal["adamax", "adam"], typer.Option(rich_help_panel=_OPTIMIZATION)] = "adamax",
    learning_rate: Annotated[
        float,
        typer.Option("--learning-rate", "--lr", metavar="X", help="After the warm-up.", rich_help_panel=_OPTIMIZATION),
    ] = 1e-3,
    warmup_steps: Annotated[int, typer.Option(metavar="N", min=0, rich_help_panel=_OPTIMIZATION)] = 100,
    decay: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="Share of the run over which the rate falls to a hundredth.",
            rich_help_panel=_OPTIMIZATION,
        ),
    ] = 0.0,
    weight_decay: Annotated[float, typer.Option(metavar="X", help="L2 penalty.", rich_help_panel=_OPTIMIZATION)] = 0.0,
    clip_norm: Annotated[
        float,
        typer.Option(metavar="X", min=0, help="Largest gradient norm; 0: no limit.", rich_help_panel=_OPTIMIZATION),
    ] = 100.0,
    ema_decay: Annotated[
        float, typer.Option(metavar="X", help="Of the averaged weights; 0: none.", rich_help_panel=_OPTIMIZATION)
    ] = 0.999,
    seed: Annotated[int, typer.Option(metavar="N", min=0, rich_help_panel=_OPTIMIZATION)] = 0,
    inverse_penalty: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            help="Bits/dim that a doubling of the decoder's error gain costs; try 0.02.",
            rich_help_panel=_DEPLOYABLE,
        ),
    ] = 0.0,
    inverse_penalty_at: Annotated[
        Literal["steps", "latents"],
        typer.Option(help="Gain of errors in every step, or in the latents.", rich_help_panel=_DEPLOYABLE),
    ] = "steps",
    inverse_penalty_every: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps between two with it.", rich_help_panel=_DEPLOYABLE)
    ] = 1,
    inverse_penalty_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images of the batch that it takes.", rich_help_panel=_DEPLOYABLE)
    ] = 8,
    conditioning_penalty: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            help="Bits/dim per squared doubling between singular values of the 1x1s; try 0.03.",
            rich_help_panel=_DEPLOYABLE,
        ),
    ] = 0.0,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda[:N]", help="Under torchrun, one GPU a process.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="CPU threads.")] = None,
    validate_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Steps; 0: only at the end.", rich_help_panel=_FILES)
    ] = 1000,
    validation_images: Annotated[
        int, typer.Option(metavar="N", min=0, help="At most so many; 0: all.", rich_help_panel=_FILES)
    ] = 1024,
    checkpoint_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Steps; 0: by time alone, every minute.", rich_help_panel=_FILES)
    ] = 1000,
    sample_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Steps; 0: only at the end.", rich_help_panel=_FILES)
    ] = 1000,
    tensorboard: Annotated[bool, typer.Option("--tensorboard/--no-tensorboard", rich_help_panel=_FILES)] = True,
    resize: Resize = False,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Train a Glow by maximum likelihood and leave a checkpoint that `export` takes.

    A run can be killed at any moment and goes on with --resume RUN; a new end (--max-steps ...) may be given then. With
    --init CKPT a new run starts from trained weights, those that `convert` wrote for instance.
    """
    from glow_core import training
    from glow_deploy.artifact.folders import check_writable
    from glow_deploy.errors import UsageError

    wait_briefly()
    main_process = os.environ.get("RANK", "0") == "0"  # under torchrun only one process speaks
    output = Output(quiet=quiet or not main_process, json=json if main_process else None)
    ends = {"max_steps": max_steps, "max_epochs": max_epochs, "max_seconds": max_seconds}
    given, initial = given_options(context), None
    if resume is not None:
        refuse_on_resume(given)
        state = training.read_run(resume)
        new_ends = {name: value for name, value in ends.items() if value is not None}
        values = state.settings.to_dict() | (dict.fromkeys(ends) | new_ends if new_ends else {})
        values |= {name: value for name, value in {"device": device, "threads": threads}.items() if name in given}
        settings = training.TrainSettings.from_dict(values)
        folder, config = resume, state.config
        notes = dict(state.notes)
        spec = data or notes.get("data")
        fit = resize or notes.get("resize") == "yes"
        if spec is None:
            raise UsageError(f"{resume} does not say which images it was trained on; give --data")
        check_writable(folder)
        images = load_pair(spec, (config.image_size, config.channels), fit)
    else:
        if data is None or out is None:
            raise UsageError("training needs --data and --out, or --resume RUN")
        refuse_with_init(given)
        folder, spec, fit = out, data, resize
        notes = {} if init is None else {"init": str(init), "init_weights": weights}
        settings = training.TrainSettings(
            **ends,  # type: ignore[arg-type]
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            decay=decay,
            weight_decay=weight_decay,
            clip_norm=clip_norm or None,
            ema_decay=ema_decay,
            inverse_penalty=inverse_penalty,
            inverse_penalty_at=inverse_penalty_at,
            inverse_penalty_every=inverse_penalty_every,
            inverse_penalty_images=inverse_penalty_images,
            conditioning_penalty=conditioning_penalty,
            seed=seed,
            device=device,
            threads=threads,
            validate_every=validate_every or None,
            validation_images=validation_images or None,
            checkpoint_every=checkpoint_every or None,
            sample_every=sample_every or None,
            tensorboard=tensorboard,
        )
        check_writable(folder)
        if init is not None:
            config, initial = load_initial(init, weights=weights)
            images = load_pair(spec, (config.image_size, config.channels), fit)
        else:
            images = load_pair(spec, (None if image_size is None else parse_size(image_size), channels), fit)
            config = new_config(
                images[0],
                class_conditional=class_conditional,
                levels=levels,
                steps=steps,
                width=width,
                coupling=coupling,
                permutation=permutation,
                bounded_scale=bounded_scale,
                n_bits=n_bits,
                edge_bias=edge_bias,
                prior=prior,
            )
    output.say(f"{len(images[0]):,} training and {len(images[1]):,} validation images of {spec}")
    if config.num_classes is not None:
        names = f": {', '.join(images[0].class_names)}" if images[0].class_names else ""
        output.say(f"{config.num_classes} classes{names}")
    with output.progress() as bars:
        try:
            result = training.train(
                config,
                train_images=images[0],
                validation_images=images[1],
                out=folder,
                settings=settings,
                resume=resume is not None,
                overwrite=force and resume is None,
                initial=initial,
                notes={**notes, "data": spec, "resize": "yes" if fit else "no"},
                progress=Reporter(bars, output),
                sample_writer=SampleGrids(folder, config.n_bits),
            )
        except KeyboardInterrupt:
            print(f"stopped; go on with: glow-deploy train --resume {folder}", file=sys.stderr)
            raise
    output.write_json(result, schema="train")
    _tell(result, output)
    if result.stopped == "terminated":
        raise typer.Exit(_TERMINATED)  # so that what a script does next is not done to an unfinished run


def _tell(result: TrainResult, output: Output) -> None:
    why = {
        "terminated": "stopped by SIGTERM",
        "steps": "all steps done",
        "epochs": "all epochs done",
        "time": "time is up",
    }
    output.say(f"{why[result.stopped]}: {result.step:,} steps, {result.epoch:.1f} epochs, {result.seconds:.0f} s")
    if result.validation_bits_per_dim is not None:
        output.say(f"validation: {result.validation_bits_per_dim:.4f} bits/dim (averaged weights)")
    if result.stopped == "terminated":
        output.say(f"saved {result.checkpoint}; go on with: glow-deploy train --resume {result.checkpoint.parent}")
    else:
        output.say(f"wrote {result.checkpoint}; next: glow-deploy export {result.checkpoint}")
