"""The tensors that another program is fed with, and those it gives, by name.

A name is `SET.TENSOR`. There are four sets, and a program may make any of them:

- `encoder`: golden images in; latents and log density out.
- `decoder`: the trained model's latents of these images in; images out.
- `round_trip`: the program's own latents, decoded by itself, and these images encoded once more.
- `canary`: convolutions that show what number format the program computes in.

Of an exact bundle latents are integers. Its decoder is fed with those of the golden images moved by a little, so that
what is due cannot be read from what was fed; and the canary is that of integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from glow_deploy.artifact.manifest import Manifest
from glow_deploy.artifact.signature import EXACT
from glow_deploy.canary import integers
from glow_deploy.canary.graph import INPUT, OUTPUT
from glow_deploy.canary.operands import BATCH, CHANNELS, SIZE

__all__ = ["CANARY_INPUT", "CANARY_OUTPUT", "SETS", "expected_outputs", "inputs_digests", "is_input", "moved_integers"]

SETS = ("encoder", "decoder", "round_trip", "canary")

CANARY_INPUT = f"canary.{INPUT}"
CANARY_OUTPUT = f"canary.{OUTPUT}"


def expected_outputs(manifest: Manifest, *, images: int) -> dict[str, tuple[int, ...]]:
    """Everything that a program may save, float32, by name.

    Args:
        manifest: of the bundle.
        images: N.

    Returns:
        Shapes with the batch: `encoder.z1` [N, C, H, W], `encoder.log_prob` [N], `decoder.x` [N, C, H, W], ... Of an
        exact bundle also `encoder.normal1`, ... and `encoder.in_range`, `decoder.in_range`, `round_trip.in_range` [N].
    """
    if manifest.precision == EXACT:
        return _exact_outputs(manifest, images=images)
    latents = {f"z{level}": (images, *shape) for level, shape in enumerate(manifest.latent_shapes, 1)}
    coded = {**latents, "log_prob": (images,)}
    picture = (images, *manifest.image_shape)
    return {
        **{f"encoder.{name}": shape for name, shape in coded.items()},
        "decoder.x": picture,
        "round_trip.x": picture,
        **{f"round_trip.{name}": shape for name, shape in coded.items()},
        CANARY_OUTPUT: (BATCH, CHANNELS, SIZE, SIZE),
    }


def _exact_outputs(manifest: Manifest, *, images: int) -> dict[str, tuple[int, ...]]:
    shapes = list(enumerate(manifest.latent_shapes, 1))
    picture = {"x": (images, *manifest.image_shape), "in_range": (images,)}
    return {
        **{f"encoder.{kind}{level}": (images, *shape) for kind in ("z", "normal") for level, shape in shapes},
        "encoder.log_prob": (images,),
        "encoder.in_range": (images,),
        **{f"{place}.{name}": shape for place in ("decoder", "round_trip") for name, shape in picture.items()},
        CANARY_OUTPUT: (integers.BATCH, integers.CHANNELS, integers.SIZE, integers.SIZE),
    }


def moved_integers(golden: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What an exact decoder is fed with: integers near those of the golden images, the same everywhere.

    Args:
        golden: z1 ... zL, [N, C, H, W] integers each.

    Returns:
        The same, each moved by up to 3, float32.
    """
    # The raw stream of a bit generator is guaranteed never to change; that of Generator's methods is not (NEP 19).
    stream = np.random.PCG64(0)
    moved = []
    for z in golden:
        by = (stream.random_raw(z[0].size) >> np.uint64(11)) % np.uint64(7)  # the same for every image
        moved.append((z + by.astype(np.int64).reshape(z.shape[1:]) - 3).astype(np.float32))
    return tuple(moved)


def is_input(name: str) -> bool:
    """Tell what was fed, which a program may have saved along with its results."""
    place, _, tensor = name.partition(".")
    match place:
        case "encoder":
            return tensor in ("x", "y")
        case "decoder":
            return tensor not in ("x", "in_range")
        case "canary":
            return name == CANARY_INPUT
    return tensor == "y" or name == "y"


def inputs_digests(tensors: Mapping[str, np.ndarray], graphs: Sequence[str]) -> tuple[str, ...]:
    """The sha256 of the graphs and of what is fed to them: first 1 image, then 2, up to all N.

    The canary is left out: its operands are the same for every bundle.

    Args:
        tensors: [N, ...] by name, `encoder.x`, `decoder.z1`, ...
        graphs: the sha256 of each graph.

    Returns:
        N digests.
    """
    digest = hashlib.sha256("\n".join(graphs).encode())
    arrays = {name: tensors[name] for name in sorted(tensors) if name != CANARY_INPUT}
    for name, array in arrays.items():
        digest.update(f"\n{name} {array.dtype.name} {list(array.shape[1:])}".encode())
    found = []
    for row in range(len(next(iter(arrays.values())))):
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array[row], array.dtype.newbyteorder("<")).tobytes())
        found.append(digest.hexdigest())
    return tuple(found)
