"""What a stress test is asked to do, and where its engines came from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.errors import UsageError

__all__ = ["Origin", "StressSettings"]


@dataclass(frozen=True, kw_only=True)
class StressSettings:
    """Options of a stress test.

    Attributes:
        images: images of each random or foreign kind; constants and checkerboards are one or two.
        temperatures: T of the sweep, in rising order.
        draws: latents drawn at each temperature; at T = 0 one for each class is enough.
        passes: numbers of encode -> decode passes to report the drift after, in rising order.
        pass_images: images that are passed round.
        attack_images: images that the half-bin attack starts from; 0 leaves the attack out.
        attack_steps: steps of sign-gradient ascent.
        attack_step: length of a step, as a share of half a bin (Behrmann et al. 2021 take 0.032).
        runs: equal runs in one process.
        processes: fresh processes that run the same once each.
        batch: images at a time.
        seed: of everything drawn.

    Raises:
        UsageError: a value is out of range.
    """

    images: int = 16
    temperatures: tuple[float, ...] = (0.0, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0)
    draws: int = 64
    passes: tuple[int, ...] = (1, 9)
    pass_images: int = 32
    attack_images: int = 32
    attack_steps: int = 200
    attack_step: float = 1 / 32
    runs: int = 10
    processes: int = 2
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("images", 1),
            ("draws", 1),
            ("pass_images", 1),
            ("attack_images", 0),
            ("attack_steps", 1),
            ("runs", 2),
            ("processes", 0),
            ("batch", 1),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed must be 0 to 2^64-1, not {self.seed}")
        if not 0.0 < self.attack_step <= 2.0:
            raise UsageError(f"attack_step is {self.attack_step}; it must lie in (0, 2], in units of half a bin")
        finite = all(math.isfinite(t) and t >= 0.0 for t in self.temperatures)
        if not finite or not self.temperatures or list(self.temperatures) != sorted(set(self.temperatures)):
            raise UsageError(f"temperatures are {self.temperatures}; give finite numbers >= 0 in rising order")
        if not self.passes or min(self.passes) < 1 or list(self.passes) != sorted(set(self.passes)):
            raise UsageError(f"passes are {self.passes}; give whole numbers >= 1 in rising order")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the backends under test came from, so that a fresh process can open them again.

    Attributes:
        bundle: folder of the bundle.
        ckpt: the checkpoint it was exported from; needed by the attack and by the PyTorch backends.
        device: as given to `open_backends`.
        threads: likewise.
        trust_engine: likewise.
        signed: what the bundle's files are held to, where its signature was checked.
    """

    bundle: Path
    ckpt: Path | None = None
    device: str = "auto"
    threads: int | None = None
    trust_engine: bool = False
    signed: SignedFiles | None = None
