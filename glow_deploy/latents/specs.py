"""What an engine's tensors say about the model's latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError
from glow_deploy.protocol import Engine, Role, TensorSpec

__all__ = ["check_labels", "conditional", "finite_rows", "is_latent_name", "latent_specs", "need_role", "show_shape"]


def is_latent_name(name: str) -> bool:
    """Tell whether a tensor's or an array's name is `z` and a number."""
    number = name[1:]
    return name[:1] == "z" and number.isascii() and number.isdecimal() and len(number) <= 9


def latent_specs(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Pick `z1` ... `zL` out of an engine's inputs or outputs, finest first."""
    found = [spec for spec in specs if is_latent_name(spec.name)]
    return tuple(sorted(found, key=lambda spec: int(spec.name[1:])))


def conditional(engine: Engine) -> bool:
    """Tell whether the model is class-conditional: whether the engine takes labels `y`."""
    return engine.num_classes is not None


def finite_rows(array: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Tell for each of the N rows of `array` whether all its values are finite; bool [N]."""
    return np.asarray(np.isfinite(array).reshape(len(array), -1).all(axis=1))


def need_role(engine: Engine, role: Role, what: str) -> None:
    """Refuse an engine of the other role.

    Raises:
        UsageError: `engine` is not of that role.
    """
    if getattr(engine, "role", None) not in get_args(Role):
        raise UsageError(f"{what} needs an engine, as `open_engine` opens one, not {type(engine).__name__}")
    if engine.role != role:
        article = "an" if role == "encoder" else "a"
        raise UsageError(f"{what} needs {article} {role}, this engine is the {engine.role}; give the other file")


def check_labels(engine: Engine, labels: npt.ArrayLike | None, count: int) -> npt.NDArray[np.int64] | None:
    """Bring labels to int64 [count] for a class-conditional engine, None for any other.

    Raises:
        UsageError: labels are missing or given to a model that has no classes.
        DataError: labels are not `count` whole numbers, or are no classes of the model.
    """
    classes = engine.num_classes
    if classes is None:
        if labels is not None:
            raise UsageError("this model is not class-conditional: leave labels= out")
        return None
    if labels is None:
        raise UsageError(f"this model is class-conditional: say which class (labels=), {_range(classes)}")
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise DataError(f"labels must be {count} whole numbers, one a row, not {array.dtype} {show_shape(array.shape)}")
    wrong = array[(array < 0) | (array >= classes)]
    if wrong.size:
        raise DataError(f"there is no class {wrong[0]}: this model knows {_range(classes)}")
    return array.astype(np.int64)


def show_shape(shape: Sequence[int], *first: str) -> str:
    """A shape as messages and docs write it, `[N, 6, 8, 8]`; `first` stands before it."""
    return f"[{', '.join((*first, *map(str, shape)))}]"


def _range(classes: int) -> str:
    return "0 alone" if classes == 1 else f"0 to {classes - 1}"
