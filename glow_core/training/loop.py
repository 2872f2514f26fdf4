"""`train`: checks what it is given, takes up or starts a run, and hands it to the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from glow_core.config import GlowConfig
from glow_core.errors import TrainingError

from .data import ImageSource, check_images, fingerprint, golden_images
from .devices import make_fabric
from .forecast import forecast
from .lock import run_lock
from .peers import peers_watched
from .precision import check_precision
from .prepared import check_exact_aware
from .progress import Forecast, TrainResult
from .records import Records, SampleWriter
from .reversible import RecomputingGlow
from .run import ProgressCallback, Run
from .settings import TrainSettings
from .state import (
    CHECKPOINT_NAME,
    StateWriter,
    check_resumable,
    restore_anchors,
    restore_model,
    restore_optimizer,
    take_initial,
)
from .stopping import StopSignals

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["ProgressCallback", "SampleWriter", "train"]


def train(
    config: GlowConfig,
    *,
    train_images: ImageSource,
    validation_images: ImageSource,
    out: str | Path,
    settings: TrainSettings,
    resume: bool = False,
    overwrite: bool = False,
    initial: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, str] | None = None,
    progress: ProgressCallback | None = None,
    sample_writer: SampleWriter | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
    stop_when: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a Glow and leave it in `out`: `ckpt.pt`, `model.safetensors`, `log.csv`, `tensorboard/`.

    `ckpt.pt` is replaced whole at every save, first right after the initialisation. With `resume` a run that was killed
    continues from it. On the CPU its numbers are then those of a run that never stopped. Ctrl-C and SIGTERM finish the
    step and save. Under torchrun the batch is shared among the processes; process 0 writes and reports.

    Args:
        config: of the model.
        train_images: what to learn, 8-bit picture values of the model's size.
        validation_images: for bits/dim, and the golden images kept in the checkpoint.
        out: folder of the run; made if it is not there.
        settings: budget, optimizer, intervals.
        resume: continue the run in `out`, with the same model, images, batch size, optimizer and seed.
        overwrite: start anew although `out` holds a run, which is lost.
        initial: state dictionary of a model of this config, such as `Checkpoint.ema` or `Checkpoint.model`, to start a
            new run from in place of fresh weights. Its initialised actnorms stay as they are; optimizer, averaged
            weights and counters start anew.
        notes: strings kept in the checkpoint, given back by `read_run`.
        progress: called after every step and event.
        sample_writer: called with the step and n_bits-deep pixels uint8 [N,C,H,W] of samples of the averaged weights.
        on_forecast: called before the first step with what the run will take. It is measured only where this is
            given. That costs about the time of two steps and changes no number of the run.
        stop_when: asked after every step; True ends the run as SIGTERM does.

    Returns:
        How the run ended.

    Raises:
        TrainingError: images, folder, device or initial weights unfit; another process trains in the folder; a file
            that cannot be written; or a loss, gradient or weight that is not finite, which stops the run with the last
            good checkpoint in place.
        CheckpointError: the checkpoint to resume from is damaged.
        KeyboardInterrupt: Ctrl-C, after the step in hand was saved.
    """
    out = Path(out)
    if resume and overwrite:
        raise TrainingError("resume and overwrite exclude each other")
    if resume and initial is not None:
        raise TrainingError("a resumed run has weights of its own; leave initial= out")
    check_exact_aware(config, settings)
    for images, name in ((train_images, "training"), (validation_images, "validation")):
        check_images(images, config, name=name)
    if not resume and not overwrite:
        _refuse_run(out)
    with ExitStack() as stack:
        stack.enter_context(_threads(settings.threads))
        if torch.get_default_device().type != "cpu":  # optimizers keep their counters on the default device
            stack.enter_context(torch.device("cpu"))
        signals = stack.enter_context(StopSignals())
        fabric = make_fabric(settings.device)
        check_precision(settings.precision, fabric.device)
        if settings.batch_size % fabric.world_size:
            raise TrainingError(
                f"a batch of {settings.batch_size} cannot be shared by {fabric.world_size} processes; choose a multiple"
            )
        share = settings.batch_size // fabric.world_size
        if share < settings.accumulate:
            raise TrainingError(
                f"accumulate {settings.accumulate}: a process has no more than {share} images of a step"
            )
        stack.enter_context(_folder(fabric, out, new=not resume and not overwrite))
        cuda = [fabric.device.index or 0] if fabric.device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=cuda))

        data = {"train": fingerprint(train_images), "validation": fingerprint(validation_images)}
        stand_ins = {
            name: set(np.asarray(getattr(images, "stand_ins", ())).tolist())
            for name, images in (("train", train_images), ("validation", validation_images))
        }
        restored = None
        if resume:
            restored = check_resumable(out, config=config, settings=settings, data=data, stand_ins=stand_ins)
            if settings.memory == "auto":  # the way that the run went so far, whatever this machine has
                settings = replace(settings, memory=restored[0].settings.memory)
        # No process may write before all have looked at what is there.
        fabric.barrier()
        run = Run(
            config,
            settings,
            fabric=fabric,
            images=(train_images, validation_images),
            signals=signals,
            progress=progress,
            stop_when=stop_when,
        )
        if restored is not None:
            restore_model(restored[1], run.model)
        else:
            if initial is not None:
                take_initial(initial, run.model)
            if not run.model.is_initialized:
                run.initialize()
        run.set_up()
        if restored is not None:
            state, checkpoint = restored
            restore_optimizer(checkpoint, run.optimizer, run.average)
            if run.memory == "reversible" and isinstance(run.loss_pass, RecomputingGlow):
                restore_anchors(checkpoint, run.loss_pass)
            run.step, run.seconds = state.step, state.seconds
            run.validation, run.best = state.validation_bits_per_dim, state.best_bits_per_dim
        if fabric.is_global_zero:
            golden = golden_images(validation_images, config, count=settings.golden_images)
            kept = replace(settings, memory=run.memory)
            writer = StateWriter(out, settings=kept, data=data, notes=notes or {}, golden=golden)
            run.records = stack.enter_context(
                Records(
                    out,
                    state=writer,
                    n_bits=config.n_bits,
                    tensorboard=settings.tensorboard,
                    sample_writer=sample_writer,
                )
            )
            run.records.open(step=run.step, save=run.save)
        begun = run.budget.used_up(step=run.step, seconds=run.seconds) is None and signals.received is None
        if on_forecast is not None and fabric.is_global_zero and begun:
            on_forecast(forecast(run))
        with peers_watched(run, out):
            return run.loop(out)


def _refuse_run(out: Path) -> None:
    if (out / CHECKPOINT_NAME).exists():
        raise TrainingError(
            f"{out} already holds a run: continue it with resume=True, replace it with overwrite=True, or choose "
            "another out="
        )


@contextmanager
def _folder(fabric: Fabric, out: Path, *, new: bool) -> Iterator[None]:
    """Hold the run's folder for all processes; none of them goes on where process 0 may not."""
    with ExitStack() as stack:
        problem: str | None = None
        if fabric.is_global_zero:
            try:
                stack.enter_context(run_lock(out))
                if new:  # another session may have ended meanwhile
                    _refuse_run(out)
            except TrainingError as error:
                problem = str(error)
        problem = fabric.broadcast(problem)
        if problem is not None:
            raise TrainingError(problem)
        yield


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
