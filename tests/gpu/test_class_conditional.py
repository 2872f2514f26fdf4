"""Class-conditional models on each GPU backend: every class against the CPU, labels at the edge, exchanged tables."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines import open_engine
from glow_deploy.errors import EngineError
from glow_deploy.verify import VerifySettings, verify

pytestmark = pytest.mark.gpu

CLASSES = 5
SUFFIXES = {"onnxruntime-cuda": ".onnx", "tensorrt": ".trt", "tensorrt-rtx": ".rtx.trt"}
TOLERANCE = 2e-4  # as in test_engines


@pytest.fixture(scope="module", params=["conditional", "independent"])
def labelled(request, tmp_path_factory, perturbed_glow):
    """The checkpoint and the bundle of a model with classes, for both kinds of prior; the classes are well apart."""
    torch = pytest.importorskip("torch", reason="the reference model needs torch")
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    folder = tmp_path_factory.mktemp("classes")
    config = GlowConfig(
        image_size=(16, 16), levels=2, steps=4, width=32, n_bits=5, num_classes=CLASSES, prior=request.param
    )
    glow = perturbed_glow(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in glow.named_parameters():
            if name.endswith(("class_offset", "prior.mean")):
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    save_checkpoint(glow, folder / "ckpt.pt")
    return export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=4 * CLASSES)).path


@pytest.fixture
def compiled(labelled, backend, compile_for):
    """The bundle, compiled for the backend under test."""
    needed = labelled / f"decoder{SUFFIXES[backend]}"
    if not needed.exists():
        compile_for(labelled, backend)
    return labelled


def _feeds(golden, role, labels):
    rows = np.arange(len(labels)) % len(golden)
    arrays = {"x": golden.x[rows]}
    if role == "decoder":
        arrays = {f"z{level}": z[rows].astype(np.float32) for level, z in enumerate(golden.z, 1)}
    return {**arrays, "y": np.asarray(labels, np.int64)}


def _difference(found, wanted):
    return max(
        float(np.abs(found[name].astype(np.float64) - array).max()) / max(1.0, float(np.sqrt(np.mean(array**2))))
        for name, array in ((name, array.astype(np.float64)) for name, array in wanted.items())
    )


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("rows", [1, 3, 8, 11])  # the plans' largest batch is 8
def test_every_class_gives_what_it_gives_on_the_cpu(compiled, backend, role, rows):
    golden = Bundle.open(compiled).golden()
    cuda = open_engine(compiled / f"{role}{SUFFIXES[backend]}", device="cuda")
    cpu = open_engine(compiled / f"{role}.onnx", device="cpu")
    with cuda, cpu:
        for shift in range(CLASSES):
            feeds = _feeds(golden, role, (np.arange(rows) + shift) % CLASSES)
            assert _difference(cuda.run(feeds), cpu.run(feeds)) < TOLERANCE
        other = {**feeds, "y": (feeds["y"] + 1) % CLASSES}
        assert _difference(cuda.run(other), cpu.run(feeds)) > TOLERANCE


@pytest.mark.parametrize("label", [-1, CLASSES, 2**40])
def test_a_label_beyond_the_tables_is_refused(compiled, backend, label):
    golden = Bundle.open(compiled).golden()
    with (
        open_engine(compiled / f"decoder{SUFFIXES[backend]}", device="cuda") as engine,
        pytest.raises(EngineError, match=r"0\.\.4"),
    ):
        engine.run(_feeds(golden, "decoder", [0, label]))


def test_the_matrix_is_sound(compiled, backend):
    settings = VerifySettings(
        backends=("pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu", backend), ckpt=compiled.with_name("ckpt.pt")
    )
    report = verify(compiled, settings=settings)
    assert report.sound, [str(failure) for failure in report.failures]


def test_exchanged_classes_fail(labelled, backend, tmp_path, compile_for):
    import hashlib
    import json
    import shutil

    import onnx

    target = tmp_path / "rolled"
    target.mkdir()
    for name in ("manifest.json", "encoder.onnx", "decoder.onnx", "golden.npz"):
        shutil.copy(labelled / name, target)
    path = target / "decoder.onnx"
    model = onnx.load(path)
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[1] == "y"}
    assert tables
    for tensor in model.graph.initializer:
        if tensor.name in tables:
            rolled = np.roll(onnx.numpy_helper.to_array(tensor), 1, axis=0)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rolled, tensor.name))
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))
    compile_for(target, backend)
    report = verify(target, settings=VerifySettings(backends=(backend,), random_draws=0))
    assert not report.sound
