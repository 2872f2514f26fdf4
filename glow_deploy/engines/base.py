"""What all engines share: their description, the check of what is fed to them, and being a context manager."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from glow_deploy.errors import EngineError
from glow_deploy.printable import one_line
from glow_deploy.protocol import EngineDetails, Role, TensorSpec

from .splitting import split_batch

__all__ = ["EngineBase", "check_feeds"]


def check_feeds(inputs: Sequence[TensorSpec], feeds: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Check names, dtypes, shapes and the common batch size of what an engine is given.

    Args:
        inputs: what the engine takes.
        feeds: arrays by name, `[N, *shape]` with one N >= 1 for all.

    Returns:
        The arrays, C-contiguous, in the order of `inputs`, and N.

    Raises:
        EngineError: a name is missing or unknown, or a dtype, shape or batch size does not fit.
    """
    names = [spec.name for spec in inputs]
    missing = [name for name in names if name not in feeds]
    unknown = [str(name) for name in feeds if name not in names]
    if missing or unknown:
        wrong = "; ".join(
            f"{word}: {', '.join(group)}" for word, group in (("missing", missing), ("unknown", unknown)) if group
        )
        raise EngineError(f"the engine takes the inputs {', '.join(names)}; {wrong}")
    arrays: dict[str, np.ndarray] = {}
    batch = -1
    for spec in inputs:
        try:
            array = np.asarray(feeds[spec.name])
        except (TypeError, ValueError, OverflowError) as error:  # lists of unequal lengths
            raise EngineError(f"input {spec.name} is no array: {one_line(error, longest=200)}") from None
        if array.dtype != np.dtype(spec.dtype):
            raise EngineError(f"input {spec.name} must be {spec.dtype}, got {array.dtype}: convert it first")
        if array.shape[1:] != spec.shape or array.ndim != len(spec.shape) + 1:
            wanted = ", ".join(["N", *map(str, spec.shape)])
            raise EngineError(f"input {spec.name} must have the shape [{wanted}], got {list(array.shape)}")
        if array.shape[0] < 1:
            raise EngineError(f"input {spec.name} is empty: a batch needs at least one row")
        if batch not in (-1, array.shape[0]):
            raise EngineError(
                f"all inputs must have the same batch size: {inputs[0].name} has {batch} rows, "
                f"{spec.name} has {array.shape[0]}"
            )
        batch = array.shape[0]
        arrays[spec.name] = np.ascontiguousarray(array)
    return arrays, batch


class EngineBase(ABC):
    """An engine's description and life; a backend adds `_run` and `_close`.

    Args:
        role: see the property of the same name, as for all that follow.
        n_bits: likewise.
        inputs: likewise.
        outputs: likewise.
        details: likewise.
        num_classes: likewise.
        most_rows: rows that the backend is given at once, >= 1; None for any number. A larger batch is run in pieces of
            about one size, one after another. Nothing of a Glow works along the batch, so the results are the same.
    """

    def __init__(
        self,
        *,
        role: Role,
        n_bits: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        details: EngineDetails,
        num_classes: int | None = None,
        most_rows: int | None = None,
    ) -> None:
        self._role: Role = role
        self._n_bits = n_bits
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._details = details
        self._num_classes = num_classes
        self._most_rows = most_rows
        self._closed = False

    @property
    def role(self) -> Role:
        """`encoder` (x to latents and log_prob) or `decoder` (latents to x)."""
        return self._role

    @property
    def n_bits(self) -> int:
        """Bit depth of the pixels the model was trained on."""
        return self._n_bits

    @property
    def num_classes(self) -> int | None:
        """K of a class-conditional model, whose labels `y` are 0 .. K-1; None for a model without classes."""
        return self._num_classes

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes, without the batch dimension."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives, without the batch dimension."""
        return self._outputs

    @property
    def details(self) -> EngineDetails:
        """What really runs, as found after opening."""
        return self._details

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one batch of any size >= 1.

        Args:
            feeds: every input by name, `[N, *shape]`, of the dtype in `inputs`.

        Returns:
            Every output by name, `[N, *shape]`.

        Raises:
            EngineError: a name, dtype or shape does not fit, the backend failed, or the engine is closed.
        """
        if self._closed:
            raise EngineError(f"this {self._details.backend} {self._role} is closed; open it again with `open_engine`")
        arrays, batch = check_feeds(self._inputs, feeds)
        self._check_labels(arrays.get("y"))
        most = self._most_rows
        if most is None or batch <= most:
            return self._checked(self._run(arrays, batch), batch)
        whole = {spec.name: np.empty((batch, *spec.shape), spec.dtype) for spec in self._outputs}
        pieces = -(-batch // most)
        # Of one size as far as may be: a rest of few rows would leave most of the processor idle.
        for piece in split_batch(batch, smallest=1, largest=-(-batch // pieces)):
            rows = {name: array[piece.start : piece.stop] for name, array in arrays.items()}
            for name, array in self._checked(self._run(rows, piece.rows), piece.rows).items():
                whole[name][piece.start : piece.stop] = array
        return whole

    def _checked(self, outputs: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        """Make sure that every output came, in its shape."""
        for spec in self._outputs:
            array = outputs.get(spec.name)
            if array is None or array.shape != (batch, *spec.shape):
                got = "nothing" if array is None else f"the shape {list(array.shape)}"
                raise EngineError(
                    f"{self._details.backend} returned {got} for {spec.name} where {[batch, *spec.shape]} is due: "
                    "the engine is not the one its description belongs to"
                )
        return outputs

    def _check_labels(self, labels: np.ndarray | None) -> None:
        # ONNX Runtime counts negative ones from the end, and a GPU may read beyond the class tables without a word.
        if labels is None or self._num_classes is None:
            return
        if labels.min() < 0 or labels.max() >= self._num_classes:
            raise EngineError(f"labels y must lie in 0..{self._num_classes - 1}, got {labels.min()}..{labels.max()}")

    def close(self) -> None:
        """Give memory and device back. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        """Run checked, contiguous arrays of `batch` rows."""

    @abstractmethod
    def _close(self) -> None:
        """Free what the backend holds. Called once."""
