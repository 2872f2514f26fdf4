"""What a training run shows and leaves while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import Bars, Output

if TYPE_CHECKING:
    from glow_core.training import Progress
    from glow_deploy.data.check import PictureCheck

__all__ = ["Reporter", "SampleGrids"]


class Reporter:
    """Draws the run's progress, and prints a line for each validation.

    Args:
        bars: of the command.
        output: of the command.
        check: of the pictures, which goes on in the background.

    Attributes:
        step: that the run stands at; None before it begins.
    """

    def __init__(self, bars: Bars, output: Output, *, check: PictureCheck | None = None) -> None:
        self.step: int | None = None
        self._bars = bars
        self._output = output
        self._check = check

    def __call__(self, progress: Progress) -> None:
        """Take in one event of the run."""
        self.step = progress.step
        words = [f"step {progress.step:,}"]
        if progress.bits_per_dim is not None:
            words.append(f"{progress.bits_per_dim:.3f} bits/dim")
        if progress.validation_bits_per_dim is not None:
            words.append(f"validation {progress.validation_bits_per_dim:.3f}")
        if progress.steps_per_second is not None:
            words.append(f"{progress.steps_per_second:.1f} steps/s")
        if self._check is not None and self._check.total:
            words.append(f"checked {self._check.done:,} of {self._check.total:,} pictures")
            if self._check.finished and not self._check.faults:
                self.say(f"all {self._check.total:,} pictures can be read")
                self._check = None
        self._bars.describe(", ".join(words), progress.fraction)
        if progress.event == "validation" and progress.validation_bits_per_dim is not None:
            self.say(
                f"step {progress.step:,}, epoch {progress.epoch:.1f}, {progress.seconds:.0f} s: "
                f"validation {progress.validation_bits_per_dim:.4f} bits/dim"
            )
        if progress.event == "samples" and progress.non_finite_samples:
            self.say(f"step {progress.step:,}: {progress.non_finite_samples} samples were not finite")

        if progress.event == "note" and progress.note:
            self.say(f"step {progress.step:,}: {progress.note}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        with self._bars.hidden():
            self._output.say(text)


class SampleGrids:
    """Writes the sample grids of a run: RUN/samples/step-000100.png.

    Raises:
        TrainingError: that folder is a link, in a run that may be a stranger's.
    """

    def __init__(self, folder: Path, n_bits: int) -> None:
        from glow_core.training.folder import refuse_link

        self._folder = folder / "samples"
        refuse_link(self._folder)
        self._n_bits = n_bits

    def __call__(self, step: int, pixels: Any) -> None:
        """Write one grid of n_bits-deep pixels, uint8 [N, C, H, W]."""
        from glow_deploy.errors import UsageError
        from glow_deploy.images import grid, pixels_to_values, write_png

        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            write_png(self._folder / f"step-{step:06d}.png", grid(pixels_to_values(pixels, self._n_bits)))
        except UsageError as error:
            # The run knows better what to do than to choose another place.
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None
