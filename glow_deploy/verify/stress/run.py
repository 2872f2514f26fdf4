"""All parts of a stress test, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.data import foreign_faces
from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.images.artificial import stress_images
from glow_deploy.progress import CountProgress, StageProgress
from glow_deploy.verify.report.stress import StressReport
from glow_deploy.verify.report.stress_rows import AttackReport, InputRow, StressFailure

from .attack import measure_attack
from .determinism import measure_determinism
from .passes import measure_passes
from .round_trips import measure_inputs
from .settings import Origin, StressSettings
from .temperatures import measure_temperatures

if TYPE_CHECKING:
    from glow_deploy.verify.backends.backend import Backend

__all__ = ["measure_stress"]


_TRAINED = ("pytorch-fp64", "pytorch-fp32")
_DETERMINISM_IMAGES = 4


def measure_stress(
    backends: Sequence[Backend],
    *,
    x: np.ndarray,
    y: np.ndarray | None,
    n_bits: int,
    bounded: bool,
    settings: StressSettings | None = None,
    origin: Origin | None = None,
    progress: StageProgress | None = None,
) -> StressReport:
    """Run each backend against itself where a flow is most likely to break.

    A valid image, that is one of any 8-bit pixel values, has to come through finite where the model's scales are
    bounded: a non-finite result is a failure, named with input and backend. All else is reported and not judged: the
    size of the error on such images, latents drawn far from the data, drift, the attack, and differences between runs.

    Args:
        backends: open.
        x: images of the model's kind, float32 [N, C, H, W] at bin centres, such as the golden ones.
        y: their labels [N], for a class-conditional model.
        n_bits: bit depth of the model's pixels.
        bounded: the couplings' inverse scales are bounded: additive, or affine with the bounded scale.
        settings: see `StressSettings`.
        origin: where the engines come from. Without it no fresh process is started; without its checkpoint there is no
            attack.
        progress: for a progress bar.

    Raises:
        UsageError: no backend or no image.
        EngineError: a backend failed while running.
    """
    if not backends or len(x) == 0:
        raise UsageError("a stress test needs at least one backend and one image")
    settings = settings or StressSettings()
    clock = _Clock(progress)
    batch, seed = settings.batch, settings.seed
    shape = (int(x.shape[1]), int(x.shape[2]), int(x.shape[3]))
    images = {
        "golden": x[: settings.images],
        **stress_images(shape, n_bits=n_bits, n=settings.images, seed=seed, golden=x),
        **foreign_faces(shape, n_bits=n_bits, n=settings.images),
    }
    with clock.section("inputs") as step:
        inputs = measure_inputs(backends, images, y, n_bits=n_bits, batch=batch, progress=step)
    with clock.section("temperatures") as step:
        temperatures = measure_temperatures(
            backends,
            y,
            temperatures=settings.temperatures,
            draws=settings.draws,
            seed=seed,
            batch=batch,
            progress=step,
        )
    with clock.section("passes") as step:
        passes = measure_passes(
            backends,
            x[: settings.pass_images],
            y,
            passes=settings.passes,
            n_bits=n_bits,
            batch=batch,
            progress=step,
        )
    attack, note = _attack(backends, x, y, n_bits=n_bits, settings=settings, origin=origin, clock=clock)
    with clock.section("determinism") as step:
        determinism = measure_determinism(
            backends,
            x[:_DETERMINISM_IMAGES],
            None if y is None else y[:_DETERMINISM_IMAGES],
            runs=settings.runs,
            processes=settings.processes,
            origin=origin,
            progress=step,
        )
    notes = [note] if note else []
    if origin is None and settings.processes:
        notes.append("fresh processes: left out, for it is not known where the engines came from")
    return StressReport(
        n_bits=n_bits,
        bounded=bounded,
        inputs=inputs,
        temperatures=temperatures,
        passes=passes,
        attack=attack,
        determinism=determinism,
        failures=tuple(_failures(inputs)) if bounded else (),
        notes=tuple(notes),
        seconds=clock.seconds,
    )


def _attack(
    backends: Sequence[Backend],
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    n_bits: int,
    settings: StressSettings,
    origin: Origin | None,
    clock: _Clock,
) -> tuple[AttackReport | None, str]:
    """The attack, or why there is none."""
    if settings.attack_images == 0:
        return None, ""
    if origin is None or origin.ckpt is None:
        return None, "half-bin attack: left out, for it needs the checkpoint: give --ckpt"
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.engines.pytorch_gradient import open_gradient
    from glow_deploy.engines.trained import Trained

    try:
        gradient = open_gradient(Trained.of(Bundle.open(origin.bundle, signed=origin.signed), origin.ckpt))
    except MissingDependencyError as error:
        return None, f"half-bin attack: left out. {error}"
    with clock.section("attack") as step:
        found = measure_attack(
            gradient,
            backends,
            x,
            y,
            name="pytorch-fp32",
            n_bits=n_bits,
            images=settings.attack_images,
            steps=settings.attack_steps,
            step=settings.attack_step,
            seed=settings.seed,
            batch=settings.batch,
            progress=step,
        )
    return found, ""


def _failures(inputs: Sequence[InputRow]) -> Iterator[StressFailure]:
    """Every valid image that is lost, with what the other backends say about it."""
    lost = {(row.backend, row.name) for row in inputs if row.non_finite}
    names = {row.backend for row in inputs}
    for row in inputs:
        if not row.non_finite:
            continue
        others = [name for name in sorted(names - {row.backend}) if (name, row.name) not in lost]
        if any((name, row.name) in lost for name in _TRAINED):
            cause = "the trained model itself overflows there, which no engine can mend: it has to be trained again"
        elif others:
            cause = (
                f"{', '.join(others)} keeps them finite, so this engine is at fault: look at its precision and range"
            )
        else:
            cause = "on every backend, so it may be the trained model itself: --ckpt tells"
        yield StressFailure(
            backend=row.backend,
            input=row.name,
            non_finite=row.non_finite,
            n=row.n,
            stage=row.stage,
            cause=cause,
        )


class _Clock:
    """Names the section that runs for the progress bar, and times it."""

    def __init__(self, progress: StageProgress | None) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def section(self, name: str) -> Iterator[CountProgress | None]:
        """Time what runs inside; gives what to call with (done, total)."""
        progress = self._progress
        started = time.monotonic()
        yield None if progress is None else lambda done, total: progress(f"stress: {name}", done, total)
        self.seconds[name] = time.monotonic() - started
