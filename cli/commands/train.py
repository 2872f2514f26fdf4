"""`glow-deploy train`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from ..common.console import Output
from ..common.elastic import run_to_go_on_with
from ..common.openmp import wait_briefly
from ..common.options import Data, Force, Json, Quiet, Resize, SkipUnreadable
from ..common.reading import Depth, FloatRange, Layout
from ..common.train_images import checked
from ..common.train_inputs import TrainInputs, TrainOptions, new_inputs, resumed_inputs
from ..common.train_options import deployable as deploy
from ..common.train_options import files as write
from ..common.train_options import length as end
from ..common.train_options import model as glow
from ..common.train_options import optimization as opt
from ..common.train_options import run
from ..common.train_options.together import given_options
from ..common.train_plan import plan_inputs, plan_words, with_preset
from ..common.train_words import cpu_warning, forecast_words, model_words
from ..common.training import Reporter, SampleGrids

if TYPE_CHECKING:
    from glow_core.training import Forecast, Progress, TrainResult

_TERMINATED = 143  # as the shell reports a process that SIGTERM ended


# Typer wants every option here. The groups stay together, where the formatter would give each option a line.
# fmt: off
def train(
    context: typer.Context,
    # What to train on, and where.
    data: Data = None, out: run.Out = None, resume: run.Resume = None, init: run.Init = None,
    weights: run.Weights = "ema", device: run.Device = "auto", threads: run.Threads = None,
    memory: run.Memory = "auto", precision: run.Precision = "float32",
    preset: run.Preset = None, dry_run: run.DryRun = False,
    resize: Resize = False, skip_unreadable: SkipUnreadable = False, force: Force = False,
    layout: Layout = None, float_range: FloatRange = None, depth: Depth = None,
    # How long.
    max_steps: end.MaxSteps = None, max_epochs: end.MaxEpochs = None, max_seconds: end.MaxSeconds = None,
    # The model.
    image_size: glow.ImageSize = None, channels: glow.Channels = None,
    levels: glow.Levels = 3, steps: glow.Steps = 32, width: glow.Width = 512,
    coupling: glow.Coupling = "affine", permutation: glow.Permutation = "lu", bounded_scale: glow.BoundedScale = True,
    n_bits: glow.NBits = 8, edge_bias: glow.EdgeBias = False, prior: glow.Prior = "conditional",
    class_conditional: glow.ClassConditional = False,
    # Optimization.
    batch_size: opt.BatchSize = 64, accumulate: opt.Accumulate = 1, optimizer: opt.Optimizer = "adamax",
    learning_rate: opt.LearningRate = 1e-3,
    warmup_steps: opt.WarmupSteps = 100, decay: opt.Decay = 0.0, weight_decay: opt.WeightDecay = 0.0,
    clip_norm: opt.ClipNorm = 100.0, ema_decay: opt.EmaDecay = 0.999, seed: opt.Seed = 0,
    # Penalties for deployment.
    inverse_penalty: deploy.InversePenalty = 0.0, inverse_penalty_at: deploy.InversePenaltyAt = "steps",
    inverse_penalty_every: deploy.InversePenaltyEvery = 1, inverse_penalty_images: deploy.InversePenaltyImages = 8,
    conditioning_penalty: deploy.ConditioningPenalty = 0.0, exact_aware: deploy.ExactAware = False,
    # What is written.
    validate_every: write.ValidateEvery = 1000, validation_images: write.ValidationImages = 1024,
    checkpoint_every: write.CheckpointEvery = 1000, sample_every: write.SampleEvery = 1000,
    tensorboard: write.Tensorboard = True,
    json: Json = None, quiet: Quiet = False,
) -> None:
    """Train a Glow by maximum likelihood and leave a checkpoint that `export` takes.

    Say when it ends: give --max-steps, --max-epochs or --max-seconds, for example --max-seconds 600 for ten minutes.

    You can stop a run at any time. --resume RUN continues it from its last checkpoint, and the loss curve is the same
    as without the stop. A resumed run can get a later end. --init CKPT starts a new run from trained weights.
    """
    options = TrainOptions(
        run=run.RunOptions(
            data=data, out=out, resume=resume, init=init, weights=weights,
            device=device, threads=threads, memory=memory, precision=precision,
            preset=preset, dry_run=dry_run,
            resize=resize, skip_unreadable=skip_unreadable, force=force,
            layout=layout, float_range=float_range, depth=depth,
        ),
        length=end.LengthOptions(max_steps=max_steps, max_epochs=max_epochs, max_seconds=max_seconds),
        model=glow.ModelOptions(
            image_size=image_size, channels=channels, levels=levels, steps=steps, width=width,
            coupling=coupling, permutation=permutation, bounded_scale=bounded_scale,
            n_bits=n_bits, edge_bias=edge_bias, prior=prior, class_conditional=class_conditional,
        ),
        optimization=opt.OptimizationOptions(
            batch_size=batch_size, accumulate=accumulate, optimizer=optimizer, learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            decay=decay, weight_decay=weight_decay, clip_norm=clip_norm, ema_decay=ema_decay, seed=seed,
        ),
        deployable=deploy.DeployableOptions(
            inverse_penalty=inverse_penalty, inverse_penalty_at=inverse_penalty_at,
            inverse_penalty_every=inverse_penalty_every, inverse_penalty_images=inverse_penalty_images,
            conditioning_penalty=conditioning_penalty, exact_aware=exact_aware,
        ),
        files=write.FilesOptions(
            validate_every=validate_every, validation_images=validation_images,
            checkpoint_every=checkpoint_every, sample_every=sample_every, tensorboard=tensorboard,
        ),
    )
    main_process = os.environ.get("RANK", "0") == "0"  # under torchrun only one process speaks
    output = Output(quiet=quiet or not main_process, json=json if main_process else None)
    given = given_options(context)
    options = with_preset(options, given=given)
    if dry_run:
        _tell_plan(options, given=given, output=output)
    else:
        _train(options, given=given, output=output)
# fmt: on


def _train(options: TrainOptions, *, given: set[str], output: Output) -> None:
    wait_briefly()
    resume = options.run.resume
    if resume is None:
        resume, given = run_to_go_on_with(options.run.out, given)
    with output.progress() as bars:
        if resume is None:
            inputs = new_inputs(options, given=given, progress=bars.stage)
        else:
            inputs = resumed_inputs(options, resume, given=given, progress=bars.stage)
    _announce(inputs, output)
    result = _run(inputs, overwrite=options.run.force, output=output)
    output.write_json(result, schema="train")
    _tell(result, output)
    if result.stopped == "terminated":
        raise typer.Exit(_TERMINATED)  # so that what a script does next is not done to an unfinished run


def _tell_plan(options: TrainOptions, *, given: set[str], output: Output) -> None:
    from glow_core.training import model_cost, plan_training
    from glow_deploy.errors import UsageError

    if output.json is not None:
        raise UsageError("--dry-run writes no document; leave --json away")
    wait_briefly()
    config, settings, images = plan_inputs(options, given=given)
    for words in model_words(config, model_cost(config)):
        output.say(words)
    with output.progress() as bars:
        bars.describe("measuring a step", 0.0)
        plan = plan_training(config, settings)
    for words in plan_words(plan, settings, images=images):
        output.say(words)


def _announce(inputs: TrainInputs, output: Output) -> None:
    from glow_core.training import device_kind, model_cost

    images, validation = inputs.images.train, inputs.images.validation
    for line in inputs.images.lines(inputs.folder):
        output.say(line)
    output.say(f"{len(images):,} training and {len(validation):,} validation images of {inputs.source}")
    if inputs.config.num_classes is not None:
        names = f": {', '.join(images.class_names)}" if images.class_names else ""
        output.say(f"{inputs.config.num_classes} classes{names}")
    for words in model_words(inputs.config, model_cost(inputs.config)):
        output.say(words)
    if device_kind(inputs.settings.device) == "cpu":
        new = not inputs.resumed and inputs.initial is None
        warning = cpu_warning(inputs.config, batch_size=inputs.settings.batch_size, new=new)
        if warning is not None:
            output.say(warning)


def _run(inputs: TrainInputs, *, overwrite: bool, output: Output) -> TrainResult:
    from glow_core import training
    from glow_deploy.errors import DataError

    again = f"glow-deploy train --resume {inputs.folder}"
    with output.progress() as bars, checked(inputs.images) as check:
        reporter = Reporter(bars, output, check=check)

        def tell(forecast: Forecast) -> None:
            reporter.say(forecast_words(forecast))

        def report(progress: Progress) -> None:
            if progress.event == "start":
                inputs.images.write(inputs.folder)
            reporter(progress)

        bars.describe("measuring a step", 0.0)
        try:
            result = training.train(
                inputs.config,
                train_images=inputs.images.train,
                validation_images=inputs.images.validation,
                out=inputs.folder,
                settings=inputs.settings,
                resume=inputs.resumed,
                overwrite=overwrite and not inputs.resumed,
                initial=inputs.initial,
                notes=inputs.notes,
                progress=report,
                sample_writer=SampleGrids(inputs.folder, inputs.config.n_bits),
                on_forecast=tell if output.speaks else None,
                stop_when=lambda: bool(check.faults),
            )
        except KeyboardInterrupt:
            print(f"stopped; to continue: {again}", file=sys.stderr)
            raise
        except DataError as error:
            raise DataError(f"{error}; {_without(again, reporter.step)}") from error
    if check.faults and result.stopped == "terminated":
        raise DataError(f"{check.faults[0].reason}; {_without(again, result.step)}")
    return result


def _without(again: str, step: int | None) -> str:
    if step is None:
        return "pass skip_unreadable=True to leave out what cannot be read"
    return f"training stopped at step {step:,}; to go on without the picture: {again} --skip-unreadable"


_LATER = {"steps": "--max-steps N", "epochs": "--max-epochs X", "time": "--max-seconds X"}


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
        output.say(f"saved {result.checkpoint}; to continue: glow-deploy train --resume {result.checkpoint.parent}")
    else:
        output.say(f"wrote {result.checkpoint}; next: glow-deploy export {result.checkpoint}")
        output.say(f"to train longer: glow-deploy train --resume {result.checkpoint.parent} {_LATER[result.stopped]}")
