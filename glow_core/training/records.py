"""Everything a run writes into its folder, by process 0 alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from glow_core.errors import TrainingError

from .folder import refuse_link
from .logs import CsvLog, TensorBoardLog
from .state import LOG_NAME, StateWriter, remove_leftovers

__all__ = ["Records", "SampleWriter"]

SampleWriter = Callable[[int, np.ndarray], None]


class Records:
    """Logs, sample grids and checkpoint of a run. A context manager: closes the files.

    Args:
        out: the run's folder; made if it is not there.
        state: writes the checkpoint.
        n_bits: depth of the pixels in sample grids.
        tensorboard: write event files too.
        sample_writer: gets the sample grids.
    """

    def __init__(
        self,
        out: Path,
        *,
        state: StateWriter,
        n_bits: int,
        tensorboard: bool,
        sample_writer: SampleWriter | None,
    ) -> None:
        self.out = out
        self.state = state
        self._n_bits = n_bits
        self._with_tensorboard = tensorboard
        self._sample_writer = sample_writer
        self._csv: CsvLog | None = None
        self._tensorboard: TensorBoardLog | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, *, step: int, save: Callable[[], None]) -> None:
        """Open the logs behind a checkpoint of `step`; a new run (step 0) saves one first.

        That proves at once that the folder can be written to, and leaves an older run's logs alone until then.

        Raises:
            TrainingError: the folder or a file in it cannot be written.
        """
        out = self.out
        try:
            out.mkdir(parents=True, exist_ok=True)
            remove_leftovers(out)
            for name in (LOG_NAME, "tensorboard"):  # before an older run is replaced
                refuse_link(out / name)
            if step == 0:
                save()
                for old in (out / "tensorboard").glob("events.out.tfevents.*"):
                    old.unlink()
            else:
                self.state.saved_step = step
            self._csv = CsvLog(out / LOG_NAME, keep_steps=step)
            self._stack.callback(self._csv.close)
            if self._with_tensorboard:
                self._tensorboard = TensorBoardLog(out / "tensorboard", first_step=step + 1)
                self._stack.callback(self._tensorboard.close)
        except OSError as error:
            raise TrainingError(f"cannot write to {out}: {error.strerror}; choose another folder") from error

    def log(self, *, step: int, epoch: float, seconds: float, **values: float | None) -> None:
        """Write a step's values to the logs.

        Raises:
            TrainingError: the disk is full.
        """
        assert self._csv is not None
        with self._errors():
            self._csv.row(step=step, epoch=epoch, seconds=round(seconds, 3), **values)
            if self._tensorboard is not None:
                self._tensorboard.scalars(step, **values)

    def samples(self, step: int, pixels: np.ndarray) -> None:
        """Hand on a sample grid: n_bits-deep pixels uint8 [N,C,H,W]; nothing where N is 0.

        Raises:
            TrainingError: it cannot be written.
        """
        if not len(pixels):
            return
        if self._tensorboard is not None:
            with self._errors():
                self._tensorboard.images(step, pixels, n_bits=self._n_bits)
        if self._sample_writer is not None:
            try:
                self._sample_writer(step, pixels)
            except OSError as error:
                raise TrainingError(
                    f"step {step}: cannot write the samples: {error.strerror or error}; {self.state.kept()}; "
                    "make room and resume the run"
                ) from error

    def sync(self) -> None:
        """Bring the logs to the disk, before the checkpoint that counts on them.

        Raises:
            TrainingError: the disk is full.
        """
        with self._errors():
            if self._csv is not None:
                self._csv.sync()
            if self._tensorboard is not None:
                self._tensorboard.flush()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"cannot write the logs in {self.out}: {error.strerror or error}; {self.state.kept()}; "
                "make room and resume the run"
            ) from error
