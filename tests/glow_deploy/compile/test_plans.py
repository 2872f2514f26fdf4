"""Compiling for real with TensorRT for RTX, which needs no GPU for it."""

from __future__ import annotations

import hashlib
import json
import sys

import onnx
import pytest

from glow_deploy.artifact.plan_header import read_header
from glow_deploy.artifact.sidecar import read_sidecar
from glow_deploy.compile import CompileSettings, compile_bundle, plans
from glow_deploy.engines import open_engine
from glow_deploy.errors import BundleError, CompileError, MissingDependencyError, UsageError

pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
SMALL = CompileSettings(gpus=("sm86", "sm89"), min_batch=1, opt_batch=2, max_batch=4)
PLANS = ("encoder.rtx.trt", "decoder.rtx.trt")


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_graphs_of_a_glow_become_plans_with_sidecars(glow_bundle):
    before = _names(glow_bundle)
    calls = []
    compiled = compile_bundle(glow_bundle, settings=SMALL, progress=lambda what, share: calls.append((what, share)))
    assert [plan.path.name for plan in compiled] == list(PLANS)
    assert _names(glow_bundle) == sorted([*before, *PLANS, *(f"{name}.json" for name in PLANS)])
    for plan, role in zip(compiled, ("encoder", "decoder"), strict=True):
        data = plan.path.read_bytes()
        header = read_header(data, source=str(plan.path))
        sidecar = read_sidecar(plan.path)
        assert sidecar == plan.sidecar
        assert (header.flavor, header.targets, header.version) == ("rtx", ("sm86", "sm89"), sidecar.version)
        assert sidecar.sha256 == hashlib.sha256(data).hexdigest()
        graph = (glow_bundle / f"{role}.onnx").read_bytes()
        assert sidecar.onnx_sha256 == hashlib.sha256(graph).hexdigest()
        assert (sidecar.profile, sidecar.gpus, sidecar.tf32) == ((1, 2, 4), ("sm86", "sm89"), False)
        assert sidecar.metadata["glow_deploy.role"] == role
        weights = sum(len(tensor.raw_data) for tensor in onnx.load_from_string(graph).graph.initializer)
        assert len(data) > weights
    assert {what.split(":")[0] for what, _ in calls} == {"encoder", "decoder"}
    assert all(0 <= share <= 1 for _, share in calls)


def test_the_same_graph_gives_the_same_bytes_and_other_weights_do_not(bundle, tiny):
    # Holds for this graph of one level and one output. Larger ones differ in the names TensorRT gives inner tensors.
    first = compile_bundle(bundle, settings=SMALL)[1].path.read_bytes()
    second = compile_bundle(bundle, settings=SMALL, force=True)[1].path.read_bytes()
    assert second == first
    model = tiny.decoder()
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]) * 1.01
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "weight"))
    other = bundle / "other.onnx"
    other.write_bytes(model.SerializeToString())
    (plan,) = compile_bundle(other, settings=SMALL)
    assert plan.path.name == "other.rtx.trt"
    assert plan.path.read_bytes() != first


def test_tf32_is_off_unless_asked_for(bundle):
    without = compile_bundle(bundle, settings=SMALL)[1].path.read_bytes()
    allowed = CompileSettings(gpus=("sm86", "sm89"), opt_batch=2, max_batch=4, tf32=True)
    plan = compile_bundle(bundle, settings=allowed, force=True)[1]
    assert plan.sidecar.tf32 is True
    # The flag is on by default, so clearing it must show in the plan.
    assert plan.path.read_bytes() != without


def test_turing_compiles_when_asked_for(bundle):
    plan = compile_bundle(bundle, settings=CompileSettings(gpus=("sm75",)))[0]
    assert read_header(plan.path.read_bytes(), source="p").targets == ("sm75",)


def test_existing_plans_are_kept_unless_forced(bundle):
    (bundle / "decoder.rtx.trt").write_bytes(b"mine")
    before = _contents(bundle)
    with pytest.raises(UsageError, match="force=True"):
        compile_bundle(bundle, settings=SMALL)
    assert _contents(bundle) == before
    compile_bundle(bundle, settings=SMALL, force=True)
    assert (bundle / "decoder.rtx.trt").read_bytes()[:4] == b"vtrt"


@pytest.mark.parametrize("name", ["encoder.rtx.trt", "decoder.rtx.trt.json"])
def test_a_folder_in_the_way_is_named_before_compiling(bundle, monkeypatch, name):
    monkeypatch.setattr(plans, "build_plan", lambda *a, **k: pytest.fail("compiled"))
    (bundle / name).mkdir()
    with pytest.raises(UsageError, match=f"{name} is a folder"):
        compile_bundle(bundle, settings=SMALL, force=True)


@pytest.mark.parametrize("failure", [CompileError("no"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_a_failure_in_the_second_graph_leaves_the_old_plans_and_nothing_else(bundle, monkeypatch, failure):
    compile_bundle(bundle, settings=SMALL)
    before = _contents(bundle)
    build = plans.build_plan

    def fail_on_decoder(*arguments, source, **options):
        if source == "decoder.onnx":
            raise failure
        return build(*arguments, source=source, **options)

    monkeypatch.setattr(plans, "build_plan", fail_on_decoder)
    with pytest.raises(type(failure)):
        compile_bundle(bundle, settings=CompileSettings(gpus=("sm120",)), force=True)
    assert _contents(bundle) == before


@pytest.mark.parametrize("data", [b"", b"random bytes that are no graph", b"\x08\x0a"])
def test_damaged_graphs_are_refused(bundle, data):
    path = bundle / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(BundleError):
        compile_bundle(path, settings=SMALL)
    assert "bad.rtx.trt" not in _names(bundle)


def test_a_graph_its_manifest_does_not_know_is_refused(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["decoder.onnx"] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    before = _names(bundle)
    with pytest.raises(BundleError, match="sha256"):
        compile_bundle(bundle, settings=SMALL)
    assert _names(bundle) == before


def test_a_bundle_of_another_release_is_refused(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "format_version": 2}))
    with pytest.raises(BundleError, match="format 2"):
        compile_bundle(bundle, settings=SMALL)


def test_what_is_no_bundle_is_said(tmp_path, bundle):
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        compile_bundle(tmp_path, settings=SMALL)
    with pytest.raises(BundleError, match="nothing does not exist"):
        compile_bundle(tmp_path / "nothing", settings=SMALL)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(BundleError, match="neither a bundle"):
        compile_bundle(tmp_path / "file", settings=SMALL)
    (bundle / "decoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"decoder\.onnx: cannot be read"):
        compile_bundle(bundle, settings=SMALL)


def test_a_missing_package_says_what_to_install(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingDependencyError, match="glow-deploy\\[rtx\\]"):
        compile_bundle(bundle, settings=SMALL)


def test_a_compiled_plan_is_checked_before_the_gpu_is_looked_for(bundle):
    compile_bundle(bundle, settings=SMALL)
    path = bundle / "encoder.rtx.trt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="cut short"):
        open_engine(path)


@pytest.mark.parametrize("exchanged", [True, False])
def test_both_plans_are_of_one_export(bundle, monkeypatch, exchanged):
    """Another export puts a decoder and its manifest in place between the two graphs; without it all goes well."""
    before = _names(bundle)
    build = plans.build_plan

    def then_another_export(*arguments, source, **options):
        if exchanged and source == "encoder.onnx":
            model = onnx.load(bundle / "decoder.onnx")
            model.doc_string = "another"
            data = model.SerializeToString()
            manifest = json.loads((bundle / "manifest.json").read_text())
            manifest["files"]["decoder.onnx"] = hashlib.sha256(data).hexdigest()
            (bundle / "decoder.onnx").write_bytes(data)
            (bundle / "manifest.json").write_text(json.dumps(manifest))
        return build(*arguments, source=source, **options)

    monkeypatch.setattr(plans, "build_plan", then_another_export)
    if not exchanged:
        assert len(compile_bundle(bundle, settings=SMALL)) == 2
        return
    with pytest.raises(BundleError):
        compile_bundle(bundle, settings=SMALL)
    assert _names(bundle) == before
