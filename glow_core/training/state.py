"""The training state inside `ckpt.pt`: written so that a resumed run goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glow_core.checkpoint import Checkpoint, read_native, save_checkpoint
from glow_core.config import GlowConfig
from glow_core.errors import CheckpointError, ConfigError, TrainingError
from glow_core.model import Glow
from glow_core.temporaries import left_by_the_dead

from .data import same_images
from .ema import AveragedWeights
from .optimization import first_non_finite
from .reversible import RecomputingGlow
from .settings import FIXED_ON_RESUME, TrainSettings

__all__ = [
    "CHECKPOINT_NAME",
    "LOG_NAME",
    "WEIGHTS_NAME",
    "RunState",
    "StateWriter",
    "check_resumable",
    "read_run",
    "remove_leftovers",
    "restore_anchors",
    "restore_model",
    "restore_optimizer",
    "take_initial",
]

CHECKPOINT_NAME = "ckpt.pt"
LOG_NAME = "log.csv"
WEIGHTS_NAME = "model.safetensors"

_STATE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands.

    Attributes:
        config: of the model.
        settings: of the session that wrote the checkpoint.
        step: optimizer steps done.
        seconds: training time so far.
        data: fingerprints of the `train` and `validation` images.
        validation_bits_per_dim: latest validation; None if there was none.
        best_bits_per_dim: lowest validation; None if there was none.
        notes: what the caller of `train` wanted kept, e.g. where the images came from.
    """

    config: GlowConfig
    settings: TrainSettings
    step: int
    seconds: float
    data: Mapping[str, str]
    validation_bits_per_dim: float | None
    best_bits_per_dim: float | None
    notes: Mapping[str, str]


def read_run(out: str | Path) -> RunState:
    """Read where the run in folder `out` stands, so that it can be resumed with the same settings.

    Raises:
        TrainingError: there is no checkpoint, or it holds no training state.
        CheckpointError: the checkpoint is damaged.
    """
    return _read(Path(out))[0]


def _read(out: Path) -> tuple[RunState, Checkpoint]:
    path = out / CHECKPOINT_NAME
    if not path.is_file():
        raise TrainingError(f"{out}: nothing to resume, there is no {CHECKPOINT_NAME} in it")
    checkpoint = read_native(path)
    training = checkpoint.training
    if training is None or checkpoint.ema is None:
        raise TrainingError(f"{path} holds a model but no training state; it cannot be resumed")
    if training.get("version") != _STATE_VERSION:
        raise TrainingError(
            f"{path} holds a training state of version {training.get('version')!r}; "
            f"this release resumes version {_STATE_VERSION}"
        )
    try:
        state = RunState(
            config=checkpoint.config,
            settings=TrainSettings.from_dict(training["settings"]),
            step=int(training["step"]),
            seconds=float(training["seconds"]),
            data=dict(training["data"]),
            validation_bits_per_dim=training["validation_bits_per_dim"],
            best_bits_per_dim=training["best_bits_per_dim"],
            notes=dict(training["notes"]),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path}: the training state is damaged ({error})") from error
    return state, checkpoint


def check_resumable(
    out: Path,
    *,
    config: GlowConfig,
    settings: TrainSettings,
    data: Mapping[str, str],
    stand_ins: Mapping[str, Collection[int]],
) -> tuple[RunState, Checkpoint]:
    """Read the run in `out` and make sure that going on with it continues the same loss curve.

    Raises:
        TrainingError: another model, other images, or a setting changed that the curve hangs on.
    """
    state, checkpoint = _read(out)
    path = out / CHECKPOINT_NAME
    for name in (field.name for field in fields(config)):
        ours, theirs = getattr(config, name), getattr(state.config, name)
        if ours != theirs:
            raise TrainingError(
                f"{path} was trained with {name} {theirs}, now {ours} is asked for: resume with the run's own model, "
                "or start a new run"
            )
    for name in FIXED_ON_RESUME:
        ours, theirs = getattr(settings, name), getattr(state.settings, name)
        if ours != theirs:
            raise TrainingError(
                f"{path} was trained with {name} {theirs}, now {ours} is asked for: it cannot change on resume"
            )
    for name, ours in data.items():
        if not same_images(ours, state.data.get(name, ""), stand_ins=stand_ins.get(name, ())):
            raise TrainingError(
                f"{path} was trained on other {name} images than those given: resume with the run's own data, or start "
                "a new run"
            )
    return state, checkpoint


def restore_model(checkpoint: Checkpoint, model: Glow) -> None:
    """Put the weights, and with them the actnorm flags and permutations, in place."""
    model.load_state_dict(dict(checkpoint.model))


def take_initial(initial: Mapping[str, Tensor], model: Glow) -> None:
    """Put the weights that a new run starts from in place, and with them the actnorm flags and permutations.

    Raises:
        TrainingError: they are those of another model, or not finite.
    """
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in initial.items()}
    unfit = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if unfit:
        raise TrainingError(
            f"the initial weights are not of this model: {len(unfit)} tensors are missing, unknown or of another shape "
            f"({', '.join(unfit[:2])}); take the config from where the weights are from"
        )
    model.load_state_dict(dict(initial))
    bad = first_non_finite(("initial weight", model))
    if bad is not None:
        raise TrainingError(f"{bad} is not finite; start from other weights")


def restore_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, average: AveragedWeights) -> None:
    """Put the optimizer's moments, the averaged weights and torch's random states in place.

    Raises:
        CheckpointError: the state does not fit.
    """
    assert checkpoint.training is not None
    assert checkpoint.ema is not None
    average.model.load_state_dict(dict(checkpoint.ema))
    try:
        optimizer.load_state_dict(dict(checkpoint.training["optimizer"]))
        rng = checkpoint.training["rng"]
        torch.set_rng_state(rng["cpu"])
        if torch.cuda.is_available() and len(rng["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(rng["cuda"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the optimizer or random state of the checkpoint is damaged ({error})") from error


def restore_anchors(checkpoint: Checkpoint, recomputing: RecomputingGlow) -> None:
    """Keep the inputs of steps that the run had begun to keep, so that it goes on with the same gradients.

    Raises:
        CheckpointError: they are not of this model.
    """
    assert checkpoint.training is not None
    anchors = checkpoint.training.get("anchors")
    if anchors is None:
        return
    try:
        recomputing.set_anchors(anchors)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the kept inputs that the checkpoint names are damaged ({error})") from error


def remove_leftovers(out: Path) -> None:
    """Remove the temporary files of sessions on this machine that were killed while they wrote.

    Only who holds the folder may do that, before anything is written: what bears this process's number is then of an
    earlier one that had the same, as the first process of a container has.
    """
    for name in (CHECKPOINT_NAME, WEIGHTS_NAME, LOG_NAME):
        for left in left_by_the_dead(out / name, own=True):
            with suppress(OSError):
                left.unlink()


class StateWriter:
    """Writes `ckpt.pt` and `model.safetensors`; what does not change over a run is handed over once.

    Args:
        out: the run's folder.
        settings: of this session.
        data: fingerprints of the images.
        notes: kept for the caller.
        golden: n_bits-deep validation images uint8 [n,C,H,W] and their labels, or None for none.
    """

    def __init__(
        self,
        out: Path,
        *,
        settings: TrainSettings,
        data: Mapping[str, str],
        notes: Mapping[str, str],
        golden: tuple[np.ndarray, np.ndarray | None] | None,
    ) -> None:
        self.path = out / CHECKPOINT_NAME
        self.weights_path = out / WEIGHTS_NAME
        self._constant = {
            "version": _STATE_VERSION,
            "settings": settings.to_dict(),
            "data": dict(data),
            "notes": dict(notes),
        }
        self._golden = golden
        self.saved_step: int | None = None

    def save(
        self,
        model: Glow,
        average: AveragedWeights,
        optimizer: torch.optim.Optimizer,
        *,
        step: int,
        seconds: float,
        validation_bits_per_dim: float | None,
        best_bits_per_dim: float | None,
        anchors: list[list[int]] | None = None,
    ) -> None:
        """Write `ckpt.pt`, whole or not at all.

        Raises:
            TrainingError: a value is not finite, or the file cannot be written; the earlier checkpoint is untouched.
        """
        bad = first_non_finite(("weight", model), ("averaged weight", average.model), optimizer=optimizer)
        if bad is not None:
            raise TrainingError(f"step {step}: {bad} is not finite; {self.kept()}")
        images, labels = (None, None) if self._golden is None else self._golden
        training = {
            **self._constant,
            "step": step,
            "seconds": seconds,
            "validation_bits_per_dim": validation_bits_per_dim,
            "best_bits_per_dim": best_bits_per_dim,
            "optimizer": optimizer.state_dict(),
            "rng": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }
        if anchors is not None:
            training["anchors"] = anchors
        ema: dict[str, Any] = average.model.state_dict()
        try:
            save_checkpoint(model, self.path, ema=ema, training=training, images=images, labels=labels)
        except CheckpointError as error:
            raise TrainingError(f"step {step}: {error}; {self.kept()}{self._how_to_go_on()}") from error
        self.saved_step = step

    def save_weights(self, average: AveragedWeights) -> None:
        """Write `model.safetensors` with the averaged weights.

        Raises:
            TrainingError: the file cannot be written.
        """
        try:
            save_checkpoint(average.model, self.weights_path)
        except CheckpointError as error:
            raise TrainingError(f"{error}; {self.kept()}") from error

    def _how_to_go_on(self) -> str:
        return "" if self.saved_step is None else ", from which you can resume the run"

    def kept(self) -> str:
        """Return what the folder still holds, for messages."""
        if self.saved_step is None:
            return "nothing of this run has been saved"
        return f"{self.path} still holds step {self.saved_step}"
