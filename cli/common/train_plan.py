"""`glow-deploy train --preset` and `--dry-run`: options from a run of the paper, and what a run would take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING

from .train_inputs import TrainOptions, load_initial, resumed_settings, settings_of
from .train_options.together import refuse_on_resume, refuse_with_init
from .train_words import spell_bytes, spell_seconds

if TYPE_CHECKING:
    from glow_core import GlowConfig
    from glow_core.training import TrainPlan, TrainSettings

__all__ = ["plan_inputs", "plan_words", "with_preset"]

_FACES = 6000  # for training, of the embedded ones
_SOME_IMAGES = 10_000


def with_preset(options: TrainOptions, *, given: set[str]) -> TrainOptions:
    """Return the options with those of a preset wherever the command line says nothing.

    Raises:
        UsageError: the model comes from elsewhere.
    """
    from glow_core.training import PAPER_RUNS
    from glow_deploy.errors import UsageError

    name = options.run.preset
    if name is None:
        return options
    if options.run.init is not None or options.run.resume is not None:
        raise UsageError("--preset describes a new model; leave --init and --resume away")
    values = {option: value for option, value in PAPER_RUNS[name].options().items() if option not in given}
    if "data" in given:
        values.pop("resize", None)
    groups = {field.name: getattr(options, field.name) for field in fields(options)}
    return replace(
        options,
        **{
            group: replace(held, **{name: values[name] for name in asdict(held) if name in values})
            for group, held in groups.items()
        },
    )


def plan_inputs(options: TrainOptions, *, given: set[str]) -> tuple[GlowConfig, TrainSettings, int | None]:
    """Return the model, the settings and, where it is known, the number of training images; no image is read.

    Raises:
        UsageError: the size of the images is not said.
        GlowCoreError: an option is out of range, or a checkpoint unfit.
    """
    from glow_core import GlowConfig
    from glow_core.training import PAPER_RUNS, read_run
    from glow_deploy.errors import UsageError

    run = options.run
    images = PAPER_RUNS[run.preset].images if run.preset is not None and "data" not in given else None
    images = _FACES if run.data == "faces" else images
    if run.resume is not None:
        refuse_on_resume(given)
        state = read_run(run.resume)
        return state.config, resumed_settings(options, state.settings, given=given), images
    refuse_with_init(given)
    settings = settings_of(options, max_steps=1)
    if run.init is not None:
        return load_initial(run.init, weights=run.weights)[0], settings, images
    size, channels = options.model.shape()
    if run.data == "faces":
        size, channels = size or (16, 16), channels or 3
    if size is None:
        raise UsageError(
            "--dry-run reads no images: say their size with --image-size HxW (and --channels, by default 3)"
        )
    if options.model.class_conditional:
        raise UsageError("--dry-run does not know how many classes there are; leave --class-conditional away")
    left_out = ("image_size", "channels", "class_conditional")
    kept = {name: value for name, value in asdict(options.model).items() if name not in left_out}
    return GlowConfig(image_size=size, channels=channels or 3, **kept), settings, images


def plan_words(plan: TrainPlan, settings: TrainSettings, *, images: int | None) -> Iterator[str]:
    """Say what a step takes, and how long the images and the run take."""
    parts = "" if plan.accumulate == 1 else f" --accumulate {plan.accumulate}"
    yield (
        f"memory: {spell_bytes(plan.memory_bytes)} of {spell_bytes(plan.device_bytes)}: weights and gradients "
        f"{spell_bytes(plan.weight_bytes)}, optimizer {spell_bytes(plan.optimizer_bytes)}, averaged weights "
        f"{spell_bytes(plan.average_bytes)}, activations {spell_bytes(plan.activation_bytes)} "
        f"(--memory {plan.memory}{parts})"
    )
    rate = plan.batch_size / plan.step_seconds
    yield f"time: {spell_seconds(plan.step_seconds)} a step of {plan.batch_size:,} images, measured on random ones"
    count = images or _SOME_IMAGES
    what = f"an epoch of {count:,} images" if images else f"{count:,} images"
    yield f"{what}: {math.ceil(count / plan.batch_size):,} steps, {spell_seconds(count / rate)}"
    steps = [] if settings.max_steps in (None, 1) else [settings.max_steps]
    if settings.max_epochs is not None and images is not None:
        steps.append(math.ceil(settings.max_epochs * images / plan.batch_size))
    if settings.max_seconds is not None:
        steps.append(max(1, int(settings.max_seconds / plan.step_seconds)))
    if steps:
        total = min(step for step in steps if step is not None)
        epochs = f", {total * plan.batch_size / images:.1f} epochs" if images else ""
        yield f"the run: {total:,} steps{epochs}, {spell_seconds(total * plan.step_seconds)}"
    yield "nothing was read or written"
