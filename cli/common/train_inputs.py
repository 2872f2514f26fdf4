"""What `glow-deploy train` hands to the training loop, made from its options and from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .elastic import starter
from .reading import reading_of
from .train_images import RunImages, open_pair, reopen_pair
from .train_options.deployable import DeployableOptions
from .train_options.files import FilesOptions
from .train_options.length import LengthOptions
from .train_options.model import ModelOptions
from .train_options.optimization import OptimizationOptions
from .train_options.run import RunOptions
from .train_options.together import refuse_on_resume, refuse_with_init

if TYPE_CHECKING:
    from glow_core import GlowConfig
    from glow_core.config import Weights
    from glow_core.training import TrainSettings
    from glow_deploy.data.reading import Reading
    from glow_deploy.progress import StageProgress

__all__ = [
    "TrainInputs",
    "TrainOptions",
    "load_initial",
    "new_inputs",
    "resumed_inputs",
    "resumed_settings",
    "settings_of",
]


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Every option of `train` that says what to train and how."""

    run: RunOptions
    length: LengthOptions
    model: ModelOptions
    optimization: OptimizationOptions
    deployable: DeployableOptions
    files: FilesOptions


@dataclass(frozen=True, kw_only=True)
class TrainInputs:
    """One session of a run.

    Attributes:
        config: of the model.
        settings: of the run.
        folder: where it is written to.
        images: to train on, and to validate on.
        source: where the images come from, as `--data` spells it.
        notes: kept in the checkpoint, for the next session.
        initial: tensors to start from; None for fresh or resumed weights.
        resumed: whether the folder holds the run already.
    """

    config: GlowConfig
    settings: TrainSettings
    folder: Path
    images: RunImages
    source: str
    notes: Mapping[str, str]
    initial: Mapping[str, Any] | None
    resumed: bool


def new_inputs(options: TrainOptions, *, given: set[str], progress: StageProgress | None = None) -> TrainInputs:
    """Gather a new run's.

    Args:
        options: of the command line.
        given: those that were written there.
        progress: told how many pictures have been looked at.

    Raises:
        UsageError: options are missing or do not go together, or the folder cannot be written or holds a run.
        GlowDeployError, GlowCoreError: images, checkpoint or settings are unfit.
    """
    from glow_deploy.artifact.folders import check_writable
    from glow_deploy.errors import UsageError

    run, model = options.run, options.model
    if run.data is None or run.out is None:
        raise UsageError(
            "training needs images and a folder: give --data and --out, or --resume RUN to continue a run; "
            "for example --data faces --out run --max-seconds 600"
        )
    refuse_with_init(given)
    options.length.require()
    settings = settings_of(options)
    check_writable(run.out)
    if (run.out / "ckpt.pt").exists() and not run.force:
        raise UsageError(
            f"{run.out} already holds a run: continue it with --resume {run.out}, replace it with --force, or name "
            "another folder with --out"
        )
    initial = None
    told = {"layout": run.layout, "float_range": run.float_range, "depth": run.depth}
    notes = {"data": run.data, "resize": _yes_or_no(run.resize), **starter()}
    notes |= {name: str(value) for name, value in told.items() if value is not None}
    open_set = partial(
        open_pair,
        run.data,
        resize=run.resize,
        skip_unreadable=run.skip_unreadable,
        reading=reading_of(layout=run.layout, float_range=run.float_range, depth=run.depth),
        progress=progress,
    )
    if run.init is None:
        images = open_set(model.shape())
        config = model.config(images.train)
    else:
        notes |= {"init": str(run.init), "init_weights": run.weights}
        config, initial = load_initial(run.init, weights=run.weights)
        images = open_set((config.image_size, config.channels))
    return TrainInputs(
        config=config,
        settings=settings,
        folder=run.out,
        images=images,
        source=run.data,
        notes=notes,
        initial=initial,
        resumed=False,
    )


def settings_of(options: TrainOptions, **instead: Any) -> TrainSettings:
    """Return the settings that the options say.

    Args:
        options: of the command line.
        instead: settings for where the options say nothing of how long to train.
    """
    from glow_core.training import TrainSettings

    run = options.run
    return TrainSettings(
        **(asdict(options.length) | ({} if options.length else instead)),
        **options.optimization.settings(),
        **options.deployable.settings(),
        **options.files.settings(),
        device=run.device,
        threads=run.threads,
        memory=run.memory,
        precision=run.precision,
    )


def resumed_inputs(
    options: TrainOptions, folder: Path, *, given: set[str], progress: StageProgress | None = None
) -> TrainInputs:
    """Gather those of the run in `folder`, with a new end, device or place of its images where one is given.

    Args:
        options: of the command line.
        folder: of the run.
        given: those that were written there.
        progress: told how many pictures have been looked at.

    Raises:
        UsageError: options that the run would ignore, or the folder cannot be written.
        GlowDeployError, GlowCoreError: checkpoint, images or settings are unfit.
    """
    from glow_core.training import read_run
    from glow_deploy.artifact.folders import check_writable
    from glow_deploy.errors import UsageError

    refuse_on_resume(given)
    run = options.run
    state = read_run(folder)
    settings = resumed_settings(options, state.settings, given=given)
    source = run.data or state.notes.get("data")
    resize = run.resize or state.notes.get("resize") == "yes"
    if source is None:
        raise UsageError(f"{folder} does not say which images it was trained on; give --data")
    check_writable(folder)
    return TrainInputs(
        config=state.config,
        settings=settings,
        folder=folder,
        images=reopen_pair(
            source,
            (state.config.image_size, state.config.channels),
            folder=folder,
            resize=resize,
            skip_unreadable=run.skip_unreadable,
            reading=_noted_reading(state.notes),
            progress=progress,
        ),
        source=source,
        notes={**state.notes, "data": source, "resize": _yes_or_no(resize)},
        initial=None,
        resumed=True,
    )


def resumed_settings(options: TrainOptions, before: TrainSettings, *, given: set[str]) -> TrainSettings:
    """Return the settings that a run goes on with: those of its last session, but for what can be said anew."""
    from glow_core.training import TrainSettings

    values = before.to_dict()
    if options.length:
        values |= asdict(options.length)
    values |= {name: getattr(options.run, name) for name in ("device", "threads", "memory") if name in given}
    values |= {"accumulate": options.optimization.accumulate} if "accumulate" in given else {}
    return TrainSettings.from_dict(values)


def load_initial(init: Path, *, weights: Weights) -> tuple[GlowConfig, dict[str, Any]]:
    """Return the model and the tensors of a checkpoint of this tool's.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    from glow_core.checkpoint import read_native

    checkpoint = read_native(init)
    return checkpoint.config, checkpoint.glow(weights=weights).state_dict()


def _noted_reading(notes: Mapping[str, str]) -> Reading:
    from glow_deploy.data.reading import Reading

    depth = notes.get("depth", "")
    return Reading(
        layout=notes.get("layout"),  # type: ignore[arg-type]  # `Reading` checks both
        float_range=notes.get("float_range"),  # type: ignore[arg-type]
        depth=int(depth) if depth.isascii() and depth.isdecimal() else None,
    )


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
