"""Everything that reads a file, each called as the commands call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from glow_deploy.protocol import TensorSpec

__all__ = ["LOADERS"]

LATENTS = (
    TensorSpec(name="z1", dtype="float32", shape=(6, 4, 4)),
    TensorSpec(name="z2", dtype="float32", shape=(24, 2, 2)),
)


def _checkpoint(path: Path) -> None:
    from glow_core import ImportOptions, read_checkpoint
    from glow_core.errors import MissingFactError

    try:
        read_checkpoint(path, mmap=True)
    except MissingFactError:
        told = ImportOptions(image_size=(16, 16), n_bits=8, input_range="unit", scale_map="sigmoid")
        read_checkpoint(path, options=told, mmap=True)


def _graph(path: Path) -> None:
    """The first wall alone: what it lets through must not harm ONNX Runtime, here in this process."""
    from glow_deploy.artifact.graph_file import read_graph
    from glow_deploy.engines.onnxruntime import open_onnx
    from glow_deploy.errors import EngineError

    data = path.read_bytes()
    graph = read_graph(data, source=str(path))
    feeds = {spec.name: np.zeros((2, *spec.shape), spec.dtype) for spec in graph.inputs}
    try:
        with open_onnx(data, device="cpu", threads=1, source=str(path)) as engine:
            engine.run(feeds)
    except EngineError:
        return
    from glow_deploy.artifact.lint import parse_model
    from glow_deploy.numerics.float64 import evaluate

    model = parse_model(data, source=str(path))
    evaluate(model, feeds, outputs=[value.name for value in model.graph.output])


def _inspect(path: Path) -> None:
    from glow_cli.commands.inspect import inspect

    inspect(path)


def _manifest(path: Path) -> None:
    from glow_deploy.artifact.manifest import Manifest, read_manifest_bytes

    repr(Manifest.from_bytes(read_manifest_bytes(path) or b"", source=str(path)))


def _golden(path: Path) -> None:
    from glow_deploy.artifact.golden import read_golden

    read_golden(path, image_shape=(3, 8, 8), latent_shapes=[spec.shape for spec in LATENTS], labelled=False)


def _latents(path: Path) -> None:
    from glow_deploy.latents import load_latents

    repr(load_latents(path, LATENTS).names).encode()


def _set(path: Path) -> None:
    from glow_deploy.data import load_images

    for split in ("train", "test"):
        images = load_images(path, split=split)
        images.batch(np.arange(min(3, len(images))))


def _idx(path: Path) -> None:
    from glow_deploy.data.fit import Fit
    from glow_deploy.data.idx_folder import idx_parts

    folder = path.parent / f"{path.name}.folder"
    folder.mkdir(exist_ok=True)
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    named = folder / ("train-images-idx3-ubyte.gz" if packed else "train-images-idx3-ubyte")
    for old in folder.iterdir():
        old.unlink()
    named.write_bytes(path.read_bytes())
    images = idx_parts(folder, fit=Fit())["train"]()
    images.batch(np.arange(min(3, len(images))))


def _picture(path: Path) -> None:
    from glow_deploy.images import read_picture

    read_picture(path, channels=3, size=(8, 8), resize=True)


def _table(path: Path) -> None:
    from glow_deploy.directions.attribute_table import read_attribute_table

    read_attribute_table(path)


def _directions(path: Path) -> None:
    from glow_deploy.directions.files import load_directions

    repr(load_directions(path, LATENTS, model_id=None)).encode()


def _sidecar(path: Path) -> None:
    from glow_deploy.artifact.sidecar import read_sidecar

    read_sidecar(path.with_name(path.name.removesuffix(".json")))


LOADERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": _checkpoint,
    "graph": _graph,
    "inspect": _inspect,
    "manifest": _manifest,
    "golden": _golden,
    "latents": _latents,
    "set": _set,
    "idx": _idx,
    "picture": _picture,
    "table": _table,
    "directions": _directions,
    "sidecar": _sidecar,
}
