"""What the base install does with no PyTorch. Any Python that the package supports runs these.

The graphs are written here from a model made by NumPy alone, since exporting one needs PyTorch.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

# Importing is refused, whether it is installed or not.
WITHOUT = "import sys\nfor name in ('torch', 'glow_core.model', 'lightning_fabric'): sys.modules[name] = None\n"


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """An encoder and a decoder as files: the folded model of the tests of graphs, made truly invertible."""
    from glow_deploy.folding import FoldedConv
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.encoder import build_encoder
    from glow_deploy.graphs.serialize import serialize

    path = Path(__file__).parent / "glow_deploy" / "graphs" / "test_bytes.py"
    spec = importlib.util.spec_from_file_location("glow_test_bytes", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    folded = made.folded_model(image=(3, 16, 16), levels=2, coupling="additive", n_bits=5)

    def rotated(step):
        weight = np.linalg.qr(step.encode.weight[:, :, 0, 0])[0]
        bias = 0.1 * step.encode.bias
        return replace(
            step,
            encode=FoldedConv(weight=weight[:, :, None, None], bias=bias),
            decode=FoldedConv(weight=np.ascontiguousarray(weight.T)[:, :, None, None], bias=-weight.T @ bias),
        )

    levels = tuple(replace(level, steps=tuple(map(rotated, level.steps))) for level in folded.levels)
    folded = replace(folded, levels=levels, log_det=0.0)
    folder = tmp_path_factory.mktemp("engines")
    for role, build in (("encoder", build_encoder), ("decoder", build_decoder)):
        facts = describe(folded, role=role, precision="fp32", model_id=folded.model_id())
        (folder / f"{role}.onnx").write_bytes(serialize(build(folded, metadata=facts)))
    return folder


def run(*words, check=True):
    code = WITHOUT + f"sys.argv = {['glow-deploy', *map(str, words)]!r}\nfrom glow_cli.main import run\nrun()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_sample_encode_and_decode(engines, tmp_path):
    run("sample", "--engine", engines / "decoder.onnx", "-n", 4, "-o", tmp_path / "samples")
    run("encode", "--engine", engines / "encoder.onnx", tmp_path / "samples", "-o", tmp_path / "z.npz")
    run("decode", "--engine", engines / "decoder.onnx", tmp_path / "z.npz", "-o", tmp_path / "back")
    first = sorted((tmp_path / "samples").glob("*.png"))
    again = sorted((tmp_path / "back").glob("*.png"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    with np.load(tmp_path / "z.npz") as archive:
        assert np.isfinite(archive["log_prob"]).all()


def test_inspect_and_doctor(engines):
    assert "encoder" in run("inspect", engines / "encoder.onnx").stdout
    assert "glow-deploy" in run("doctor").stdout


def test_export_says_what_it_needs(tmp_path):
    done = run("export", tmp_path / "ckpt.pt", check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_missing_onnxruntime_is_one_line(engines, tmp_path):
    code = "import sys; sys.modules['onnxruntime'] = None\n" + WITHOUT
    words = ["glow-deploy", "sample", "--engine", str(engines / "decoder.onnx"), "-o", str(tmp_path / "x.png")]
    code += f"sys.argv = {words!r}\nfrom glow_cli.main import run\nrun()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "glow-deploy[cpu]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
