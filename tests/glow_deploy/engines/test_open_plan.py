"""Plan headers, sidecars, and everything that is checked before a plan is deserialised."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.artifact.sidecar import Sidecar, read_sidecar, sidecar_path
from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.engines import open_engine
from glow_deploy.engines import open_plan as opening
from glow_deploy.errors import BundleError, EngineError, MissingDependencyError, SignatureError


def _plan(flavor="rtx", *, version=(1, 7, 1, 116), mask=0b001100, size=400) -> bytes:
    """Bytes with the header of a plan (as tensorrt_rtx 1.7.1 writes it) and nothing runnable behind."""
    magic = {"rtx": b"vtrt", "tensorrt": b"ftrt"}[flavor]
    head = magic + bytes(12) + struct.pack("<Q", size) + bytes(version) + bytes(4) + struct.pack("<I", mask)
    return head.ljust(size, b"\x5a")


@pytest.fixture
def folder(bundle, tiny):
    """The tiny bundle with a manifest and a plan of each flavour of its encoder, as if compiled for sm86 and sm89."""
    onnx_data = (bundle / "encoder.onnx").read_bytes()
    graph = read_graph(onnx_data, source="encoder.onnx")
    digest = hashlib.sha256(onnx_data).hexdigest()
    files = {name: (bundle / name).read_bytes() for name in ("encoder.onnx", "decoder.onnx")}
    (bundle / "manifest.json").write_text(json.dumps(tiny.manifest(files)))
    for flavor, name in (("rtx", "encoder.rtx.trt"), ("tensorrt", "encoder.trt")):
        plan = _plan(flavor, version=(1, 7, 1, 116) if flavor == "rtx" else (11, 4, 0, 106))
        sidecar = Sidecar(
            sha256=hashlib.sha256(plan).hexdigest(),
            onnx_sha256=digest,
            flavor=flavor,
            version="1.7.1.116" if flavor == "rtx" else "11.4.0.106",
            tf32=False,
            version_compatible=False,
            hardware_compatible=False,
            profile=(1, 2, 4),
            gpus=("sm86", "sm89"),
            metadata=graph.metadata,
            inputs=graph.inputs,
            outputs=graph.outputs,
        )
        (bundle / name).write_bytes(plan)
        sidecar_path(bundle / name).write_text(sidecar.to_json())
    return bundle


@pytest.fixture
def machine(monkeypatch, stand_ins, tiny):
    """Let plans run on stand-ins: `machine.cuda` and `machine.trt` say on what."""

    def compute(arrays):
        z, log_prob = tiny.expected(arrays["x"])
        return {"z1": z, "log_prob": log_prob}

    class Machine:
        capability = (8, 9)
        version: str | None = None

        def module(self, flavor):
            self.trt = stand_ins.StandInTensorRT(
                self.cuda,
                inputs={"x": ((1, 4, 4), "float32")},
                outputs={"z1": ((4, 2, 2), "float32"), "log_prob": ((), "float32")},
                compute=compute,
                rtx=flavor == "rtx",
            )
            self.trt.__version__ = self.version or self.trt.__version__
            return self.trt

        def gpu(self, index):
            self.cuda.capability = self.capability
            return self.cuda

    result = Machine()
    result.cuda = stand_ins.StandInCuda()
    monkeypatch.setattr(opening, "import_tensorrt", result.module)
    monkeypatch.setattr(opening, "Cuda", result.gpu)
    return result


NAMES = ["encoder.rtx.trt", "encoder.trt"]


@pytest.mark.parametrize("role", ["../x/y", "", "/", ".", "\x00", "encoder/../decoder"])
def test_a_role_that_is_none_is_refused(folder, machine, role):
    path = folder / "encoder.trt"
    open_engine(path).close()
    content = json.loads(sidecar_path(path).read_text())
    content["metadata"]["glow_deploy.role"] = role
    sidecar_path(path).write_text(json.dumps(content))
    with pytest.raises(BundleError, match="role is"):
        open_engine(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_with_its_sidecar_runs(folder, machine, tiny, name):
    x = tiny.images(7)
    with open_engine(folder / name) as engine:
        np.testing.assert_allclose(engine.run({"x": x})["z1"], tiny.expected(x)[0], atol=1e-6)
        assert (engine.role, engine.n_bits, engine.details.tf32, engine.details.precision) == (
            "encoder",
            5,
            False,
            "fp32",
        )
        assert engine.details.device == "cuda:0 (Stand-in GPU)"


def _change_sidecar(folder, name, **changes):
    path = sidecar_path(folder / name)
    path.write_text(replace(read_sidecar(folder / name), **changes).to_json())


@pytest.mark.parametrize("name", NAMES)
def test_without_a_matching_sidecar_nothing_runs_unless_trusted(folder, machine, name, monkeypatch):
    plan = bytearray((folder / name).read_bytes())
    plan[-1] ^= 1
    (folder / name).write_bytes(plan)
    with pytest.raises(BundleError, match=r"sha256 differs.*trust_engine=True"):
        open_engine(folder / name)
    assert not hasattr(machine, "trt"), "TensorRT was loaded for a plan that nothing vouches for"
    with open_engine(folder / name, trust_engine=True) as engine:
        assert engine.details.tf32 is True  # the sidecar speaks of another plan
    sidecar_path(folder / name).unlink()
    with pytest.raises(BundleError, match="no sidecar"):
        open_engine(folder / name)
    with open_engine(folder / name, trust_engine=True) as engine:
        assert engine.n_bits == 5  # from encoder.onnx beside it
        assert engine.details.tf32 is True  # nobody knows, so nobody may claim it is off
    (folder / "encoder.onnx").unlink()
    with pytest.raises(EngineError, match="bit depth"):
        open_engine(folder / name, trust_engine=True)


def test_a_plan_of_another_graph_is_refused(folder, machine):
    _change_sidecar(folder, "encoder.trt", onnx_sha256="1" * 64)
    with pytest.raises(BundleError, match=r"another encoder\.onnx"):
        open_engine(folder / "encoder.trt")
    (folder / "manifest.json").unlink()  # a plan taken out of its bundle runs alone
    open_engine(folder / "encoder.trt").close()


def test_tf32_is_what_the_sidecar_says(folder, machine):
    _change_sidecar(folder, "encoder.trt", tf32=True)
    with open_engine(folder / "encoder.trt") as engine:
        assert engine.details.tf32 is True


@pytest.mark.parametrize(
    ("name", "version", "runs"),
    [
        ("encoder.rtx.trt", "1.7.1.200", True),
        ("encoder.rtx.trt", "1.8.0.1", False),
        ("encoder.trt", "11.4.0.1", True),
        ("encoder.trt", "11.5.0.1", False),
        ("encoder.trt", "12.0.0.1", False),
    ],
)
def test_plans_of_another_release_are_refused_by_name(folder, machine, name, version, runs):
    machine.version = version
    if runs:
        open_engine(folder / name).close()
    else:
        with pytest.raises(EngineError, match=f"{version} is installed here"):
            open_engine(folder / name)


def test_version_compatible_plans_may_meet_a_newer_minor_release(folder, machine):
    _change_sidecar(folder, "encoder.trt", version_compatible=True)
    machine.version = "11.5.0.1"
    open_engine(folder / "encoder.trt").close()
    machine.version = "12.0.0.1"
    with pytest.raises(EngineError, match="compile it again"):
        open_engine(folder / "encoder.trt")


@pytest.mark.parametrize(
    ("name", "capability", "message"),
    [
        ("encoder.rtx.trt", (12, 0), "compile BUNDLE --gpu sm120"),
        ("encoder.rtx.trt", (9, 0), "--flavor tensorrt"),
        ("encoder.trt", (9, 0), "compile it on this GPU"),
        ("encoder.trt", (7, 5), "is sm75"),
    ],
)
def test_a_gpu_that_is_no_target_is_refused(folder, machine, name, capability, message):
    machine.capability = capability
    with pytest.raises(EngineError, match=message):
        open_engine(folder / name)


def test_hardware_compatible_plans_run_from_ampere_on(folder, machine):
    _change_sidecar(folder, "encoder.trt", hardware_compatible=True)
    machine.capability = (9, 0)
    open_engine(folder / "encoder.trt").close()
    machine.capability = (7, 5)
    with pytest.raises(EngineError, match="sm75"):
        open_engine(folder / "encoder.trt")


def test_a_plan_never_runs_on_the_cpu(folder, machine):
    with pytest.raises(EngineError, match="only on an NVIDIA GPU"):
        open_engine(folder / "encoder.trt", device="cpu")


def test_a_missing_package_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match="glow-deploy\\[tensorrt\\]"):
        open_engine(folder / "encoder.trt")


def test_a_truncated_plan_is_refused_even_if_trusted(folder, machine):
    path = folder / "encoder.rtx.trt"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BundleError, match="cut short"):
        open_engine(path, trust_engine=True)


def test_sidecars_survive_writing_and_reading(folder):
    sidecar = read_sidecar(folder / "encoder.trt")
    assert Sidecar.from_json(sidecar.to_json(), source="s") == sidecar
    assert sidecar.to_json() == sidecar_path(folder / "encoder.trt").read_text()


@pytest.mark.parametrize("key", ["sha256", "onnx_sha256", "flavor", "flags", "profile", "gpus", "metadata", "inputs"])
@pytest.mark.parametrize("value", [None, 5, [3], "x"])
def test_damaged_sidecars_are_errors(folder, machine, key, value):
    path = sidecar_path(folder / "encoder.trt")
    content = json.loads(path.read_text())
    content[key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError):
        open_engine(folder / "encoder.trt")


@pytest.fixture
def signed(folder):
    return SignedFiles(
        signer="me", digests={path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    )


@pytest.mark.parametrize("trust_engine", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_held_to_the_signature_even_where_it_is_trusted(folder, machine, signed, name, trust_engine):
    open_engine(folder / name, signed=signed, trust_engine=trust_engine).close()
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    _change_sidecar(folder, name, sha256=hashlib.sha256(data).hexdigest())
    open_engine(folder / name).close()  # in order by its own sidecar
    with pytest.raises(SignatureError, match="not the file that was signed"):
        open_engine(folder / name, signed=signed, trust_engine=trust_engine)


@pytest.mark.parametrize("changed", ["sidecar", "manifest.json"])
@pytest.mark.parametrize("name", NAMES)
def test_the_sidecar_and_the_manifest_of_a_plan_are_held_to_it_too(folder, machine, signed, name, changed):
    if changed == "sidecar":
        _change_sidecar(folder, name, tf32=True)
    else:
        (folder / changed).write_text((folder / changed).read_text() + "\n")
    open_engine(folder / name).close()
    with pytest.raises(SignatureError, match="not the file that was signed"):
        open_engine(folder / name, signed=signed)


def test_a_plan_that_was_added_is_not_covered(folder, machine, signed):
    (folder / "another.trt").write_bytes((folder / "encoder.trt").read_bytes())
    with pytest.raises(SignatureError, match="not covered"):
        open_engine(folder / "another.trt", signed=signed, trust_engine=True)
