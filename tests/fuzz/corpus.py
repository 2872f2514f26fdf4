"""Sound files of every kind that is read, small and of one model, to make mutants of."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from pathlib import Path

import numpy as np

__all__ = ["make_corpus"]

FIXTURES = Path(__file__).parents[1] / "fixtures" / "other_projects"


def make_corpus(folder: Path) -> None:
    """Write `folder/LOADER/*`, one folder for each entry of `loaders.LOADERS`."""
    import torch

    from glow_core import Glow, GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    config = GlowConfig(image_size=(8, 8), levels=2, steps=1, width=4, n_bits=5, edge_bias=True)
    generator = torch.Generator().manual_seed(0)
    glow = Glow(config).eval()
    with torch.no_grad():
        glow.initialize(torch.rand(16, 3, 8, 8, generator=generator))
        for parameter in glow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    made = folder / "model"
    made.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 32, (4, 3, 8, 8), dtype=np.uint8)
    save_checkpoint(glow, made / "ckpt.pt", images=images)
    save_checkpoint(glow, made / "model.safetensors")
    torch.save(glow.state_dict(), made / "old.pt", _use_new_zipfile_serialization=False)
    export(made / "ckpt.pt", out=made / "bundle", settings=ExportSettings(golden=2))
    for name in ("ckpt.pt", "model.safetensors", "old.pt"):
        _put(folder, "checkpoint", made / name)
    if FIXTURES.is_dir():
        for path in sorted(FIXTURES.glob("*/*")):
            if path.suffix != ".json" and path.name != "reference.npz":
                _put(folder, "checkpoint", path, name=f"{path.parent.name}-{path.name}")
    for name in ("encoder.onnx", "decoder.onnx"):
        _put(folder, "graph", made / "bundle" / name)
    for path in sorted((made / "bundle").iterdir()):
        _put(folder, "inspect", path)
    _put(folder, "manifest", made / "bundle" / "manifest.json")
    _put(folder, "golden", made / "bundle" / "golden.npz")
    _latents(folder)
    _sets(folder)
    _pictures(folder)
    _tables(folder)
    _directions(folder, json.loads((made / "bundle" / "manifest.json").read_text())["model_id"])
    _plans(folder)


def _put(folder: Path, loader: str, source: Path, *, name: str = "") -> None:
    (folder / loader).mkdir(exist_ok=True)
    shutil.copy(source, folder / loader / (name or source.name))


def _place(folder: Path, loader: str, name: str) -> Path:
    (folder / loader).mkdir(exist_ok=True)
    return folder / loader / name


def _latents(folder: Path) -> None:
    arrays = {"z1": np.ones((3, 6, 4, 4), np.float32), "z2": np.ones((3, 24, 2, 2), np.float32)}
    names = np.array(["a.png", "b.png", "é"])
    figures = {key: np.arange(3.0) for key in ("log_prob", "bits_per_dim", "bits_per_dim_centre")}
    np.savez(_place(folder, "latents", "plain.npz"), **arrays, **figures, names=names)
    np.savez_compressed(_place(folder, "latents", "packed.npz"), **arrays, names=names)


def _sets(folder: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    more = {
        "labels": np.arange(12) % 3,
        "label_names": np.array(["a", "b", "c"]),
        "attributes": rng.integers(0, 2, (12, 2), dtype=np.uint8),
        "attribute_names": np.array(["hat", "smile"]),
        "split": np.arange(12) % 3,
        "split_names": np.array(["train", "validation", "test"]),
    }
    np.savez(_place(folder, "set", "plain.npz"), images=images, **more)
    np.savez_compressed(_place(folder, "set", "packed.npz"), images=images[..., 0], labels=more["labels"])
    body = struct.pack(">4B3I", 0, 0, 8, 3, 12, 8, 8) + images[..., 0].tobytes()
    _place(folder, "idx", "train-images-idx3-ubyte").write_bytes(body)
    _place(folder, "idx", "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(body, mtime=0))


def _pictures(folder: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(2)
    colour = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    for suffix in ("png", "jpg", "bmp", "gif", "webp", "tif", "ppm"):
        colour.save(_place(folder, "picture", f"colour.{suffix}"))
    colour.convert("RGBA").save(_place(folder, "picture", "alpha.png"))
    colour.convert("P").save(_place(folder, "picture", "palette.png"), transparency=3)
    deep = Image.fromarray(rng.integers(0, 65536, (8, 8), dtype=np.uint16))
    for suffix in ("png", "tif"):
        deep.save(_place(folder, "picture", f"deep.{suffix}"))


def _tables(folder: Path) -> None:
    _place(folder, "table", "tags.csv").write_text("file,smiling,hat\na.png,1,-1\nb.png,0,1\n")
    _place(folder, "table", "celeba.txt").write_text("2\nSmiling Hat\na.png 1 -1\nb.png -1 1\n")
    np.savez(
        _place(folder, "table", "tags.npz"),
        attributes=np.array([[1, 0], [0, 1]]),
        attribute_names=np.array(["smiling", "hat"]),
        files=np.array(["a.png", "b.png"]),
    )


def _directions(folder: Path, model_id: str) -> None:
    from glow_deploy.directions.directions import Attribute, Directions
    from glow_deploy.directions.files import save_directions
    from glow_deploy.directions.reach import Reach
    from glow_deploy.directions.soundness import Soundness

    there = Reach(amount=2.0, median=3.0, images=20)
    bright = Attribute(
        name="bright",
        vectors=(np.ones((6, 4, 4), np.float32), np.ones((24, 2, 2), np.float32)),
        counts=(30, 30),
        held_out=(20, 20),
        auc=1.0,
        auc_interval=(0.9, 1.0),
        auc_by_level=(1.0, 1.0),
        removing=there,
        adding=there,
    )
    every = Directions(
        model_id=model_id, source="toys", attributes=(bright,), limit=3.0, survival=0.95, soundness=Soundness()
    )
    save_directions(_place(folder, "directions", "toys.npz"), every)


def _plans(folder: Path) -> None:
    for magic, name in ((b"ftrt", "plain.trt"), (b"vtrt", "plain.rtx.trt")):
        data = bytearray(magic + bytes(196))
        struct.pack_into("<Q", data, 16, len(data))
        data[24:28] = bytes([1, 7, 1, 116])
        _place(folder, "inspect", name).write_bytes(data)
    side = {
        "format_version": 1,
        "sha256": "0" * 64,
        "onnx_sha256": "1" * 64,
        "flavor": "rtx",
        "tensorrt_version": "1.7.1",
        "flags": {"tf32": False, "version_compatible": False, "hardware_compatible": False},
        "profile": {"min": 1, "opt": 8, "max": 64},
        "gpus": ["sm86"],
        "metadata": {"glow_deploy.role": "decoder"},
        "inputs": [{"name": "z1", "dtype": "float32", "shape": [6, 4, 4]}],
        "outputs": [{"name": "x", "dtype": "float32", "shape": [3, 8, 8]}],
    }
    _place(folder, "sidecar", "plain.trt.json").write_text(json.dumps(side, indent=2))
