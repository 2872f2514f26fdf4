"""A small perturbed model, exported once, and a way to run the command line as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result


@dataclass(frozen=True)
class Model:
    """Files of one model. Tests that change a file work on a copy."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "ckpt.pt"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def encoder(self) -> Path:
        return self.bundle / "encoder.onnx"

    @property
    def decoder(self) -> Path:
        return self.bundle / "decoder.onnx"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    import torch

    from glow_core import Glow, GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    found = Model(tmp_path_factory.mktemp("model"))
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
    generator = torch.Generator().manual_seed(0)
    glow = Glow(config).eval()
    with torch.no_grad():
        glow.initialize(torch.rand(16, 3, 8, 8, generator=generator))
        for parameter in glow.parameters():  # fresh couplings are the identity and would hide bugs
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    save_checkpoint(glow, found.checkpoint)
    export(found.checkpoint, out=found.bundle, settings=ExportSettings(golden=8))
    return found


@pytest.fixture
def own_model(model: Model, tmp_path: Path) -> Model:
    """A copy that a test may damage."""
    folder = tmp_path / "own"
    shutil.copytree(model.folder, folder)
    return Model(folder)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in: whatever a command leaves behind can be seen."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three pictures of the model's size."""
    from glow_deploy.images import write_png

    values = np.random.default_rng(3).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    paths = [tmp_path / f"picture-{index}.png" for index in range(3)]
    for path, value in zip(paths, values, strict=True):
        write_png(path, value)
    return paths


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Run a command in this process: `invoke("sample", "--engine", path)`."""
    from glow_cli.main import app

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def run_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the console script in a process of its own, packages in `without` made un-importable."""

    def run(
        *arguments: object, without: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys\n"
            f"for name in {list(without)!r}: sys.modules[name] = None\n"
            f"sys.argv = {['glow-deploy', *map(str, arguments)]!r}\n"
            "from glow_cli.main import run\n"
            "run()\n"
        )
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **(environment or {})},
        )

    return run
