"""One session of a run: maximum likelihood on dequantised images (Kingma & Dhariwal 2018, section 2, equations 1-2)."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from glow_core.config import GlowConfig
from glow_core.errors import TrainingError

from .ahead import ReadAhead
from .budget import Budget, StepRate
from .data import ImageSource, read_batch, spread
from .ema import AveragedWeights
from .evaluation import draw_pixels, labels_of, log_prob_sum
from .memory import choose_memory, loss_pass
from .optimization import first_non_finite, learning_rate, make_optimizer, set_hyperparameters
from .penalties import add_limited_gradient, penalty_terms
from .precision import in_full_precision
from .prepared import new_model, prepare
from .progress import Event, Progress, TrainResult
from .records import Records
from .reversible import RecomputingGlow
from .sampler import ShuffledSampler, dequantize, derive_seed, draw_noise, generator_for
from .settings import TrainSettings
from .state import CHECKPOINT_NAME, WEIGHTS_NAME
from .stopping import StopSignals

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["ProgressCallback", "Run"]

ProgressCallback = Callable[[Progress], None]


class Run:
    """Model, optimizer, averaged weights and counters of one session.

    `train` fills it, from scratch or from a checkpoint, and calls `loop`.
    """

    def __init__(
        self,
        config: GlowConfig,
        settings: TrainSettings,
        *,
        fabric: Fabric,
        images: tuple[ImageSource, ImageSource],
        signals: StopSignals,
        progress: ProgressCallback | None,
        stop_when: Callable[[], bool] | None = None,
    ) -> None:
        self.config, self.settings, self.fabric = config, settings, fabric
        self.train_images, self.validation_images = images
        self.signals, self.progress, self.stop_when = signals, progress, stop_when
        count = len(self.train_images)
        self.sampler = ShuffledSampler(count, batch_size=settings.batch_size, seed=settings.seed)
        self.ahead = ReadAhead(self.train_images, self.sampler, config)
        self.budget, self.step_rate = Budget(settings, images=count), StepRate()
        torch.manual_seed(derive_seed(settings.seed, "weights"))
        self.model = new_model(config, settings, fabric.device)
        self.memory = choose_memory(settings, config, device=fabric.device, processes=fabric.world_size)
        self.loss_pass = loss_pass(self.model, self.memory, precision=settings.precision)
        self.records: Records | None = None
        self.step = 0
        self.seconds = 0.0
        self.validation: float | None = None
        self.best: float | None = None
        self.loss: float | None = None
        self.grad_norm: float | None = None
        self.penalties: dict[str, float] = {}
        self.rate = 0.0

    def initialize(self) -> None:
        """Set the actnorms from the first images of the first epoch, on every process the same ones."""
        count = min(self.settings.init_images, len(self.train_images))
        first = ShuffledSampler(len(self.train_images), batch_size=count, seed=self.settings.seed).batch(1)
        x, y = self.inputs(first, generator_for(self.settings.seed, "initialization"))
        self.model.initialize(x, y)
        bad = first_non_finite(("weight", self.model))
        if bad is not None:
            raise TrainingError(f"after the initialisation on {count} images {bad} is not finite; look at the images")

    def set_up(self) -> None:
        """Hand model and optimizer to Fabric; under torchrun this makes process 0's weights everybody's."""
        self.model.train()
        self.optimizer = make_optimizer(self.model.parameters(), self.settings)
        self.module, self._stepper = self.fabric.setup(self.loss_pass, self.optimizer)
        self.average = AveragedWeights(self.model, decay=self.settings.ema_decay)
        prepare(self.model, self.settings)  # not the averaged weights, which are looked at

    def loop(self, out: Path) -> TrainResult:
        """Step until a budget runs out or a signal asks to stop."""
        self._saved_at = time.monotonic()
        self._clock_start = self._saved_at - self.seconds
        self._report("start")
        stopped = self.budget.used_up(step=self.step, seconds=self.seconds)
        signalled: signal.Signals | None = None
        try:
            while stopped is None and signalled is None:
                self.step += 1
                signalled = self._train_step()
                stopped = self.budget.used_up(step=self.step, seconds=self.seconds)
                self._after_step(last=stopped is not None, stopping=signalled is not None)
        finally:
            self.ahead.close()
        if signalled is None and self.records is not None:
            self.records.state.save_weights(self.average)
        if signalled == signal.SIGINT:
            raise KeyboardInterrupt
        return TrainResult(
            checkpoint=out / CHECKPOINT_NAME,
            weights=out / WEIGHTS_NAME if signalled is None else None,
            step=self.step,
            epoch=self.sampler.epoch(self.step),
            seconds=self.seconds,
            stopped="terminated" if signalled is not None or stopped is None else stopped,
            validation_bits_per_dim=self.validation,
            best_bits_per_dim=self.best,
        )

    def save(self) -> None:
        """Write the checkpoint, after the log rows that it counts on."""
        if self.records is None:
            return
        self.records.sync()
        self.records.state.save(
            self.model,
            self.average,
            self.optimizer,
            step=self.step,
            seconds=self.seconds,
            validation_bits_per_dim=self.validation,
            best_bits_per_dim=self.best,
            anchors=self.anchors(),
        )
        self._saved_at = time.monotonic()
        self._report("checkpoint")

    def anchors(self) -> list[list[int]] | None:
        """Return which inputs of steps the backward pass is given, level by level; None where none were added."""
        if self.memory != "reversible" or not isinstance(self.loss_pass, RecomputingGlow):
            return None
        anchors = [list(plan.anchors) for plan in self.loss_pass.plans()]
        return anchors if any(len(level) > 1 for level in anchors) else None

    def inputs(
        self, indices: np.ndarray, generator: torch.Generator, *, pixels: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return dequantised images and their labels, on the device."""
        config, device = self.config, self.fabric.device
        noise = draw_noise((len(indices), config.channels, *config.image_size), generator)
        found = read_batch(self.train_images, indices, config) if pixels is None else pixels
        x = dequantize(found, noise, n_bits=config.n_bits)
        return x.to(device), labels_of(self.train_images, indices, self.model, device)

    def _train_step(self) -> signal.Signals | None:
        """One optimizer step; returns the signal that asks to stop, agreed between processes."""
        settings, step = self.settings, self.step
        used = self.budget.fraction(step=step - 1, seconds=self.seconds)
        self.rate = learning_rate(step, settings, progress=used)
        set_hyperparameters(self.optimizer, settings, rate=self.rate)
        # Noise is drawn for the whole batch and then shared out, so that the number of processes changes no image.
        indices, pixels = self.ahead.batch(step)
        x, y = self.inputs(indices, generator_for(settings.seed, "noise", step), pixels=pixels)
        share = settings.batch_size // self.fabric.world_size
        mine = slice(self.fabric.global_rank * share, (self.fabric.global_rank + 1) * share)
        self.optimizer.zero_grad()
        loss = self._add_gradients(x[mine], None if y is None else y[mine])
        parameters = list(self.model.parameters())
        measured = self._add_penalties(parameters, x, y)
        if settings.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, settings.clip_value)
        limit = math.inf if settings.clip_norm is None else settings.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        signalled = self._agree(loss, norm, measured)
        self._watch()
        self._stepper.step()
        self.average.update(self.model, step=step)
        self.step_rate.add(step, time.monotonic())
        return signalled

    def _add_gradients(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Add the gradients of mean bits/dim, part after part, and return its value."""
        config, parts = self.config, self.settings.accumulate
        labels = [None] * parts if y is None else y.tensor_split(parts)
        total = x.new_zeros(())
        for number, (images, of_images) in enumerate(zip(x.tensor_split(parts), labels, strict=True), start=1):
            # Processes add up their gradients once, after the last part.
            with self.fabric.no_backward_sync(self.module, enabled=number < parts):
                log_prob = self.module(images, of_images)
                bits = config.n_bits - log_prob.mean() / (config.dims * math.log(2))
                loss = bits if parts == 1 else bits * (len(images) / len(x))
                self.fabric.backward(loss)
            total = total + loss.detach()
        return total

    def _add_penalties(self, parameters: list[nn.Parameter], x: Tensor, y: Tensor | None) -> Mapping[str, Tensor]:
        """Add their gradients to those of the likelihood, and return what was measured."""
        fabric, checkpointed = self.fabric, self.memory != "plain"
        rank, world_size = fabric.global_rank, fabric.world_size
        with in_full_precision(self.model):  # finite differences are smaller than the errors of 16 bit and of rounding
            extra = penalty_terms(
                self.model,
                x,
                y,
                settings=self.settings,
                step=self.step,
                rank=rank,
                world_size=world_size,
                checkpointed=checkpointed,
            )
            if extra.objective is not None:
                add_limited_gradient(
                    extra.objective, parameters, average=lambda vector: _summed(fabric, vector) / world_size
                )
        return extra.measured

    def _agree(self, loss: Tensor, norm: Tensor, penalties: Mapping[str, Tensor]) -> signal.Signals | None:
        """Take in the means of loss and penalties, gradient norm and process 0's clock; returns a stop signal."""
        seconds = time.monotonic() - self._clock_start
        received = self.signals.received
        if received is None and self.stop_when is not None and self.stop_when():
            received = signal.SIGTERM
        # One transfer from the device for all of them.
        self.grad_norm, *means = torch.stack([value.double() for value in (norm, loss, *penalties.values())]).tolist()
        if self.fabric.world_size == 1:
            self.seconds = seconds
        else:
            mine = (
                seconds if self.fabric.is_global_zero else 0.0,
                float(received == signal.SIGINT),
                float(received == signal.SIGTERM),
                *(mean / self.fabric.world_size for mean in means),
            )
            # Inputs that one process began to keep are kept by all, so that process 0 saves and tells of every one.
            recomputing = self.loss_pass if isinstance(self.loss_pass, RecomputingGlow) else None
            flags = [] if recomputing is None else recomputing.anchor_flags()
            shared = torch.tensor((*mine, *flags), dtype=torch.float64, device=self.fabric.device)
            self.seconds, interrupts, terminations, *rest = _summed(self.fabric, shared).tolist()
            means = rest[: len(means)]
            if recomputing is not None:
                recomputing.take_over(rest[len(means) :])
            received = signal.SIGINT if interrupts else signal.SIGTERM if terminations else None
        self.loss = means[0]
        self.penalties = dict(zip(penalties, means[1:], strict=True))
        return received

    def _watch(self) -> None:
        """Stop before the weights are touched where the loss, a penalty or a gradient is not finite."""
        assert self.loss is not None
        assert self.grad_norm is not None
        named = {"loss": self.loss, **{name.replace("_", " "): value for name, value in self.penalties.items()}}
        bad = [f"the {name} is {value}" for name, value in named.items() if not math.isfinite(value)]
        if not bad and math.isfinite(self.grad_norm):
            return
        what = bad[0] if bad else "a gradient is not finite"
        kept = "" if self.records is None else f"{self.records.state.kept()}. "
        raise TrainingError(
            f"step {self.step}: {what} (learning rate {self.rate:.3g}); training stopped, {kept}"
            "Lower learning_rate= or clip_norm=, or raise warmup_steps="
        )

    def _after_step(self, *, last: bool, stopping: bool) -> None:
        settings, step = self.settings, self.step
        due = last or _is_due(step, settings.validate_every)
        measured = self._validate() if due and not stopping else None
        if self.records is not None and (due or stopping or _is_due(step, settings.log_every)):
            self.records.log(
                step=step,
                epoch=self.sampler.epoch(step),
                seconds=self.seconds,
                bits_per_dim=self.loss,
                grad_norm=self.grad_norm,
                learning_rate=self.rate,
                validation_bits_per_dim=measured,
                **self.penalties,
            )
        self._report("step")
        if isinstance(self.loss_pass, RecomputingGlow):
            for note in self.loss_pass.take_notes():
                self._report("note", note=note)
        if measured is not None:
            self._report("validation")
        if not stopping and (last or _is_due(step, settings.sample_every)):
            self._samples()
        age = time.monotonic() - self._saved_at
        old = settings.checkpoint_seconds is not None and age >= settings.checkpoint_seconds
        if last or stopping or old or _is_due(step, settings.checkpoint_every):
            self.save()

    def _validate(self) -> float | None:
        """Bits/dim of the averaged weights, shared among the processes; None where a signal cut it short."""
        settings, fabric = self.settings, self.fabric
        chosen = spread(len(self.validation_images), settings.validation_images)
        alone = fabric.world_size == 1
        total = log_prob_sum(
            self.average.model,
            self.validation_images,
            chosen[fabric.global_rank :: fabric.world_size],
            seed=derive_seed(settings.seed, "validation"),
            batch_size=settings.batch_size,
            stop=lambda: alone and self.signals.received is not None,
        )
        if total is None:
            return None
        if not alone:
            total = float(_summed(fabric, torch.tensor(total, dtype=torch.float64, device=fabric.device)))
        measured = self.config.n_bits - total / len(chosen) / (self.config.dims * math.log(2))
        if not math.isfinite(measured):
            kept = "" if self.records is None else f", {self.records.state.kept()}"
            raise TrainingError(f"step {self.step}: the validation bits/dim is {measured}; training stopped{kept}")
        self.validation = measured
        self.best = measured if self.best is None else min(self.best, measured)
        return measured

    def _samples(self) -> None:
        settings = self.settings
        if settings.sample_count == 0 or self.records is None:
            return
        pixels, bad = draw_pixels(
            self.average.model,
            settings.sample_count,
            temperature=settings.sample_temperature,
            seed=settings.seed,
        )
        self.records.samples(self.step, pixels)
        self._report("samples", non_finite_samples=bad)

    def _report(self, event: Event, *, non_finite_samples: int | None = None, note: str | None = None) -> None:
        if self.progress is None or not self.fabric.is_global_zero:
            return
        rate = self.step_rate.value()
        self.progress(
            Progress(
                event=event,
                step=self.step,
                epoch=self.sampler.epoch(self.step),
                seconds=self.seconds,
                fraction=self.budget.fraction(step=self.step, seconds=self.seconds),
                steps_per_second=rate,
                eta_seconds=self.budget.seconds_left(step=self.step, seconds=self.seconds, rate=rate),
                bits_per_dim=self.loss,
                validation_bits_per_dim=self.validation,
                best_bits_per_dim=self.best,
                non_finite_samples=non_finite_samples,
                note=note,
            )
        )


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _summed(fabric: Fabric, values: Tensor) -> Tensor:
    total = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(total, Tensor)
    return total
