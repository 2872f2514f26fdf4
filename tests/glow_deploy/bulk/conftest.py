"""A few pictures in each kind of shard, and two small models."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

COUNT = 7


@pytest.fixture(scope="session")
def write_tar() -> Callable[[Path, list[tuple[str, bytes]]], Path]:
    """Write members into a tar archive, as WebDataset does."""

    def write(path: Path, members: list[tuple[str, bytes]]) -> Path:
        with tarfile.open(path, "w") as archive:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture(scope="session", params=["rgb", "grey"])
def bundle(request, tmp_path_factory, perturbed_glow) -> Path:
    """A bundle: 8x8 RGB, affine, LU; or 8x12 grey, additive, plain, with classes."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    folder = tmp_path_factory.mktemp("bulk")
    sizes = {
        "rgb": {"image_size": (8, 8), "channels": 3},
        "grey": {
            "image_size": (8, 12),
            "channels": 1,
            "coupling": "additive",
            "permutation": "plain",
            "num_classes": 3,
        },
    }[request.param]
    save_checkpoint(perturbed_glow(GlowConfig(levels=2, steps=2, width=8, n_bits=5, **sizes)), folder / "ckpt.pt")
    export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=4))
    return folder / "bundle"


@pytest.fixture(scope="session")
def values(bundle) -> np.ndarray:
    """Pictures that fit the bundle, uint8 [7, C, H, W]."""
    from glow_deploy.artifact.identity import engine_facts

    facts = engine_facts(bundle / "encoder.onnx")
    return np.random.default_rng(3).integers(0, 256, (COUNT, facts.channels, *facts.image_size), dtype=np.uint8)


@pytest.fixture
def inputs(tmp_path, values, write_tar) -> dict[str, Path]:
    """The same pictures as a folder, a Parquet file with two row groups, and a WebDataset shard."""
    import pyarrow
    import pyarrow.parquet

    from glow_deploy.images import png_bytes

    encoded = [png_bytes(picture) for picture in values]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, data in enumerate(encoded):
        (folder / f"p{number}.png").write_bytes(data)
    rows = [{"bytes": data, "path": None} for data in encoded]
    table = pyarrow.table({"label": list(range(COUNT)), "image": rows, "words": ["x"] * COUNT})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=4)
    members = [
        (f"{number:03}{end}", data)
        for number, picture in enumerate(encoded)
        for end, data in ((".cls", b"1"), (".png", picture))
    ]
    write_tar(tmp_path / "shard.tar", members)
    return {"folder": folder, "parquet": tmp_path / "rows.parquet", "tar": tmp_path / "shard.tar"}
