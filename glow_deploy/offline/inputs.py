"""What another program is fed with, and the files that it is written to."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import atomic_paths, refuse_folder, refuse_overwrite
from glow_deploy.artifact.manifest import DECODER, ENCODER
from glow_deploy.artifact.signature import EXACT
from glow_deploy.canary import make_canary, make_integers
from glow_deploy.canary.graph import canary_graph
from glow_deploy.errors import UsageError
from glow_deploy.printable import shown

from .tensors import CANARY_INPUT, SETS, expected_outputs, inputs_digests, moved_integers
from .tools import polygraphy_feeds

__all__ = ["DIGEST", "INDEX", "GoldenInputs", "golden_inputs", "write_inputs"]

INDEX = "index.json"
DIGEST = "inputs_sha256"
"""The entry of an index, or of an .npz file, that tells which inputs and graphs outputs belong to."""

FORMAT = "glow_deploy.golden_inputs"


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenInputs:
    """The golden images of a bundle, the latents that the trained model makes of them, and the canary's operands.

    Attributes:
        model_id: of the bundle.
        images: how many, N.
        tensors: `encoder.x` [N, C, H, W], `decoder.z1` ... float32, `encoder.y` and `decoder.y` [N] int64 of a
            class-conditional model, `canary.z1` [32, 128, 16, 16] float32. Of an exact bundle the latents are integers
            near those of the images, `decoder.as_normal` [N, 1, 1, 1] is there too, and the canary's has 96 channels.
        outputs: what may be saved, by name, with its shape.
        graphs: the sha256 of encoder and decoder.
        exact: of a bundle of integers.
    """

    model_id: str
    images: int
    tensors: Mapping[str, np.ndarray]
    outputs: Mapping[str, tuple[int, ...]]
    graphs: tuple[str, ...]
    exact: bool = False

    @property
    def canary(self) -> bytes:
        """The ONNX file of the canary: that of integers for an exact bundle."""
        return canary_graph(make_integers() if self.exact else make_canary())

    def __repr__(self) -> str:
        return f"GoldenInputs({self.images} images of model {self.model_id[:12]})"

    @property
    def digest(self) -> str:
        """What tells these inputs, and the graphs they are for, from those of another bundle, or from fewer of them."""
        return self.digests[-1]

    @property
    def digests(self) -> tuple[str, ...]:
        """The same of the first image alone, of the first two, ... up to all."""
        return inputs_digests(self.tensors, self.graphs)


def golden_inputs(bundle: Bundle | str | Path, *, limit: int | None = None) -> GoldenInputs:
    """Take what to feed out of a bundle.

    Args:
        bundle: opened, or its folder.
        limit: the first so many golden images alone; None for all.

    Raises:
        UsageError: the bundle has no golden vectors.
        BundleError: it is damaged.
    """
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    golden = bundle.golden()
    if golden is None:
        raise UsageError(f"{bundle.path} has no golden vectors to feed: export it with golden vectors")
    n = len(golden) if limit is None else min(limit, len(golden))
    tensors: dict[str, np.ndarray] = {"encoder.x": golden.x[:n]}
    exact = bundle.manifest.precision == EXACT
    if exact:
        assert golden.integers is not None  # a bundle of integers without them was refused
        tensors |= {f"decoder.z{level}": z[:n] for level, z in enumerate(moved_integers(golden.integers), 1)}
        tensors["decoder.as_normal"] = np.zeros((n, 1, 1, 1), dtype=np.float32)
    else:
        with np.errstate(over="ignore"):
            tensors |= {f"decoder.z{level}": z[:n].astype(np.float32) for level, z in enumerate(golden.z, 1)}
    if golden.y is not None:
        tensors |= {"encoder.y": golden.y[:n], "decoder.y": golden.y[:n]}
    tensors[CANARY_INPUT] = make_integers().x if exact else make_canary().x
    return GoldenInputs(
        model_id=bundle.manifest.model_id,
        images=n,
        tensors=tensors,
        outputs=expected_outputs(bundle.manifest, images=n),
        graphs=tuple(bundle.manifest.files[name] for name in (ENCODER, DECODER)),
        exact=exact,
    )


def write_inputs(
    inputs: GoldenInputs, path: str | Path, *, batch: int | None = None, force: bool = False
) -> tuple[Path, ...]:
    """Write what to feed: to an .npz file with the canary's graph beside it, or to a folder of files of three kinds.

    A folder holds `SET.TENSOR.bin`, the bare values in little-endian order (as trtexec loads them); `SET.inputs.json`,
    as Polygraphy loads them; `canary.onnx`; and `index.json`, which lists all with types and shapes, and what to save.

    Args:
        inputs: of `golden_inputs`.
        path: `something.npz`, or a folder.
        batch: images at once in the files for Polygraphy, of a folder; None for all.
        force: replace what is there.

    Returns:
        The files written, the first of them the .npz file or the index.

    Raises:
        UsageError: there is something already, it cannot be written, a folder holds files of other inputs or outputs,
            or `batch` is given for an .npz file.
    """
    path = Path(path)
    if path.suffix == ".npz":
        if batch is not None:
            raise UsageError(f"batch= is for what Polygraphy loads, and {path} holds none of that: name a folder")
        files = {path: _npz(inputs), path.with_suffix(".canary.onnx"): inputs.canary}
        for file in files:
            refuse_overwrite(file, force=force, elsewhere="inputs=")
            refuse_folder(file)
    else:
        refuse_overwrite(path, force=force, elsewhere="inputs=")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is no folder: name a folder, or a file that ends in .npz")
        files = {path / name: data for name, data in _folder(inputs, batch).items()}
        _refuse_strays(path, {file.name for file in files})
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {path}: {error.strerror}; choose another place") from error
    with atomic_paths(list(files)) as temporaries:
        for temporary, data in zip(temporaries, files.values(), strict=True):
            temporary.write_bytes(data)
    return tuple(files)


def _refuse_strays(folder: Path, ours: set[str]) -> None:
    """Refuse to write beside tensors that the new index would vouch for, or that a program would load by mistake."""
    try:
        names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}") from error
    strays = [name for name in names if name.partition(".")[0] in SETS and name not in ours]
    if strays:
        raise UsageError(
            f"{folder} holds {shown(strays[0])}, which is not of these inputs: remove it, or choose another inputs="
        )


def _npz(inputs: GoldenInputs) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **inputs.tensors, **{DIGEST: np.array([inputs.digest])})
    return buffer.getvalue()


def _folder(inputs: GoldenInputs, batch: int | None) -> dict[str, bytes]:
    listed = {
        name: {"file": f"{name}.bin", "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in inputs.tensors.items()
    }
    wanted = {
        name: {"file": f"{name}.bin", "dtype": "float32", "shape": list(shape)}
        for name, shape in inputs.outputs.items()
    }
    index = {
        "format": FORMAT,
        "format_version": 1,
        "model_id": inputs.model_id,
        "images": inputs.images,
        DIGEST: inputs.digest,
        "inputs": listed,
        "outputs": wanted,
    }
    files = {INDEX: (json.dumps(index, indent=2) + "\n").encode()}
    for name, array in inputs.tensors.items():
        files[f"{name}.bin"] = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    for place in ("encoder", "decoder", "canary"):
        fed = {
            name.partition(".")[2]: array for name, array in inputs.tensors.items() if name.partition(".")[0] == place
        }
        files[f"{place}.inputs.json"] = polygraphy_feeds(fed, batch=None if place == "canary" else batch)
    files["canary.onnx"] = inputs.canary
    return files
