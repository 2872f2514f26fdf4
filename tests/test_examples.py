"""The programs of docs/examples: built and run where there is what they need, and judged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def run(command, *, folder, **environment):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Asked for before the bundle, which need not be made where they are not there.
@pytest.fixture(scope="session")
def node():
    """Node, and a folder of modules with onnxruntime-node in it."""
    found, modules = shutil.which("node"), os.environ.get("ONNXRUNTIME_NODE_MODULES")
    if found is None:
        pytest.skip("node is not installed")
    if modules is None:
        pytest.skip("ONNXRUNTIME_NODE_MODULES does not name a node_modules folder with onnxruntime-node")
    return found, modules


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The program in C++, and where its library is."""
    compiler, place = shutil.which("g++") or shutil.which("clang++"), os.environ.get("ONNXRUNTIME_ROOT")
    if compiler is None:
        pytest.skip("neither g++ nor clang++ is installed")
    if place is None:
        pytest.skip("ONNXRUNTIME_ROOT does not name a folder with ONNX Runtime's include/ and lib/")
    program = tmp_path_factory.mktemp("cpp") / "golden"
    options = ["-std=c++17", "-Wall", f"-I{place}/include", f"-L{place}/lib", "-lonnxruntime", "-o", str(program)]
    run([compiler, str(EXAMPLES / "golden.cpp"), *options], folder=program.parent)
    return str(program), f"{place}/lib"


@pytest.fixture(scope="module", params=[None, 3], ids=["plain", "classes"])
def bundle(request, tmp_path_factory):
    """A small bundle, with what to feed beside it."""
    import torch

    from glow_core import Glow, GlowConfig, save_checkpoint
    from glow_deploy.export import export
    from glow_deploy.offline import golden_inputs, write_inputs

    folder = tmp_path_factory.mktemp("examples")
    config = GlowConfig(image_size=(8, 16), levels=2, steps=2, width=8, n_bits=5, num_classes=request.param)
    generator = torch.Generator().manual_seed(0)
    model = Glow(config).eval()
    with torch.no_grad():
        labels = None if request.param is None else torch.arange(16) % request.param
        model.initialize(torch.rand(16, 3, 8, 16, generator=generator), labels)
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    save_checkpoint(model, folder / "ckpt.pt")
    made = export(folder / "ckpt.pt", out=folder / "bundle", golden=8)
    write_inputs(golden_inputs(made), folder / "golden-in")
    return made


def judge(bundle, folder):
    """All that can be saved was saved, is sound, and is read as what it is: another bundle's would not be."""
    from glow_deploy.errors import DataError
    from glow_deploy.offline import read_outputs
    from glow_deploy.verify import verify

    saved = read_outputs(bundle, folder)
    assert saved.missing == ()
    assert saved.vouched
    report = verify(bundle, outputs=folder, backends="onnxruntime-cpu", random_draws=0, largest_batch=2)
    assert report.sound
    assert "not compared" not in report.verdicts.to_dict().values()
    z1 = folder / "encoder.z1.bin"
    z1.write_bytes(z1.read_bytes()[:-4])
    with pytest.raises(DataError, match="bytes"):
        read_outputs(bundle, folder)


def test_in_node(node, bundle, tmp_path):
    program, modules = node
    shutil.copy(EXAMPLES / "golden.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    run([program, "golden.mjs", str(bundle.path), str(bundle.path.parent / "golden-in"), "out"], folder=tmp_path)
    judge(bundle, tmp_path / "out")


def test_in_cpp(compiled, bundle, tmp_path):
    program, libraries = compiled
    source = bundle.path.parent / "golden-in"
    run([program, str(bundle.path), str(source), "out"], folder=tmp_path, LD_LIBRARY_PATH=libraries)
    judge(bundle, tmp_path / "out")


@pytest.mark.parametrize("name", ["golden.mjs", "golden.cpp", "golden.cs"])
def test_each_saves_all_four_sets_and_tells_which_inputs_they_belong_to(name):
    text = (EXAMPLES / name).read_text()
    for word in ("encoder", "decoder", "round_trip", "canary", "index.json", "verify BUNDLE --outputs golden-out"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 140


def python(*words, folder, fails=False):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "lossless_codec.py"), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_codec_gives_every_pixel_back_on_another_backend(tmp_path, perturbed_glow):
    import numpy as np

    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.data import load_images
    from glow_deploy.export import export
    from glow_deploy.images import write_png

    pytest.importorskip("openvino", reason="the pictures are decoded in OpenVINO")
    config = GlowConfig(image_size=(16, 16), levels=1, steps=1, width=8, coupling="additive")
    values = load_images("faces", split="test", limit=24).batch(np.arange(24))
    save_checkpoint(perturbed_glow(config), tmp_path / "ckpt.pt", images=values)
    export(tmp_path / "ckpt.pt", out=tmp_path / "bundle", precision="exact", golden=2)
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(values):
        write_png(tmp_path / "pictures" / f"{number}.png", picture)
    found = python("encode", "bundle", "pictures", "z.npz", folder=tmp_path)
    assert "24 pictures, 0 of them kept as they are" in found
    python("decode", "bundle", "z.npz", "decoded", "--backend", "openvino-cpu", folder=tmp_path)
    assert python("compare", "pictures", "decoded", folder=tmp_path).startswith("0 of 18,432 values differ")
    # A control: one latent that is one integer off shows.
    with np.load(tmp_path / "z.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["z1"][0, 0, 0, 0] += 2**8
    np.savez_compressed(tmp_path / "off.npz", **arrays)
    python("decode", "bundle", "off.npz", "wrong", folder=tmp_path)
    assert not python("compare", "pictures", "wrong", folder=tmp_path, fails=True).startswith("0 of")
