"""The runner, on stand-ins for the GPU and TensorRT (stand_ins.py)."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.engines.tensorrt import TensorRTEngine
from glow_deploy.errors import BundleError, EngineError

SHAPES = {"x": ((1, 4, 4), "float32")}
OUTPUTS = {"z1": ((4, 2, 2), "float32"), "log_prob": ((), "float32")}
_FLAVORS = {False: "tensorrt", True: "rtx"}


@pytest.fixture
def make(tiny, stand_ins):
    """Build an encoder engine on stand-ins; returns it with its CUDA and its module."""

    def build(*, cuda_graphs=False, metadata=None, cuda=None, **options):
        def compute(arrays):
            z, log_prob = tiny.expected(arrays["x"])
            return {"z1": z, "log_prob": log_prob}

        cuda = cuda or stand_ins.StandInCuda()
        options = {"inputs": SHAPES, "outputs": OUTPUTS, "compute": compute, **options}
        trt = stand_ins.StandInTensorRT(cuda, **options)
        facts = GraphMetadata.from_props(metadata or {**tiny.METADATA, "glow_deploy.role": "encoder"}, source="test")
        build.trt, build.cuda = trt, cuda
        return TensorRTEngine(
            b"plan",
            trt=trt,
            cuda=cuda,
            flavor=_FLAVORS[trt.rtx],
            facts=facts,
            tf32=False,
            source="encoder.trt",
            cuda_graphs=cuda_graphs,
        )

    return build


def _check(engine, tiny, batch, seed=0):
    x = tiny.images(batch, seed)
    result = engine.run({"x": x})
    z, log_prob = tiny.expected(x)
    np.testing.assert_allclose(result["z1"], z, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result["log_prob"], log_prob, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("rtx", [False, True])
@pytest.mark.parametrize("batches", [(1, 2, 4), (3, 4, 5), (4, 4, 4), (1, 1, 1)])
def test_any_batch_gives_the_right_rows_within_the_profile(make, tiny, batches, rtx):
    with make(batches=batches, rtx=rtx) as engine:
        for batch in (1, 2, 3, 4, 5, 11, 4, 1):
            _check(engine, tiny, batch, seed=batch)
        used = make.trt.contexts[0]["batches"]
        assert min(used) >= batches[0]
        assert max(used) <= batches[2]
        assert engine.details.max_batch == batches[2]


def test_a_wrong_row_would_be_noticed(make, tiny):
    def reversed_rows(arrays):
        z, log_prob = tiny.expected(arrays["x"])
        return {"z1": z[::-1], "log_prob": log_prob}

    with make(compute=reversed_rows) as engine, pytest.raises(AssertionError):
        _check(engine, tiny, 3)


def test_buffers_grow_and_are_reused(make, tiny):
    with make(batches=(1, 4, 8)) as engine:
        _check(engine, tiny, 2)
        assert make.cuda.allocations == 3
        for batch in (2, 1, 2):
            _check(engine, tiny, batch)
        assert make.cuda.allocations == 3
        _check(engine, tiny, 8)
        assert make.cuda.allocations == 6
        assert len(make.cuda.memory) == 3


def test_shapes_are_set_only_when_the_batch_changes(make, tiny):
    with make() as engine:
        for batch in (2, 2, 2, 3, 3):
            _check(engine, tiny, batch)
        assert make.trt.contexts[0]["shapes_set"] == 2


def test_close_frees_everything_children_first(make, tiny):
    engine = make(cuda_graphs=True)
    for _ in range(3):
        _check(engine, tiny, 3)
    engine.close()
    engine.close()
    assert make.trt.freed == ["context", "engine", "runtime"]
    assert not make.cuda.memory
    assert not make.cuda.streams
    assert not make.cuda.graphs
    with pytest.raises(EngineError, match="closed"):
        engine.run({"x": tiny.images(1)})


def test_close_after_a_fatal_cuda_error_hides_no_other_error(make, tiny):
    engine = make()
    make.cuda.fail_synchronize = True
    with pytest.raises(EngineError, match="illegal memory access"), engine:
        engine.run({"x": tiny.images(1)})
    assert make.trt.freed == ["context", "engine", "runtime"]


def test_host_code_in_plans_is_never_allowed(make):
    with make():
        assert make.trt.host_code_at_load is False


@pytest.mark.parametrize(
    ("step", "message"),
    [("deserialize", "Magic tag does not match"), ("context", "cannot set the plan up")],
)
def test_none_from_tensorrt_is_an_error_and_leaks_nothing(make, step, message):
    with pytest.raises(EngineError, match=message):
        make(refuse=step)
    assert not make.cuda.streams
    assert not make.cuda.memory


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("shape", "refuses x of shape"),
        ("infer", "cannot tell the shape"),
        ("address", "refuses the memory"),
        ("execute", "kernel launch failed"),
    ],
)
def test_a_refused_call_is_an_error(make, tiny, step, message):
    with make(refuse=step) as engine, pytest.raises(EngineError, match=message):
        engine.run({"x": tiny.images(2)})
    assert not make.cuda.memory


def test_a_plan_with_other_tensors_is_refused(make, tiny):
    with pytest.raises(BundleError, match="2 levels"):
        make(metadata={**tiny.METADATA, "glow_deploy.role": "encoder", "glow_deploy.levels": "2"})
    with pytest.raises(BundleError, match="decoder"):
        make(metadata={**tiny.METADATA, "glow_deploy.role": "decoder"})
    with pytest.raises(EngineError, match="BF16"):
        make(inputs={"x": ((1, 4, 4), "bfloat16")})


def test_tensors_come_in_the_order_of_the_graph_whatever_the_plan_lists_first(make):
    with make(outputs=dict(reversed(OUTPUTS.items()))) as engine:
        assert [spec.name for spec in engine.outputs] == ["z1", "log_prob"]


def test_outputs_of_another_shape_are_refused(make, tiny):
    engine = make()
    make.trt.outputs = {**OUTPUTS, "z1": ((4, 2, 3), "float32")}
    with engine, pytest.raises(EngineError, match="would give z1"):
        engine.run({"x": tiny.images(2)})


def test_cuda_graphs_replay_a_repeated_batch_and_go_when_it_changes(make, tiny):
    with make(cuda_graphs=True, batches=(1, 4, 8)) as engine:
        for seed in range(4):
            _check(engine, tiny, 3, seed)
        assert make.cuda.launches == 2
        _check(engine, tiny, 5)
        assert not make.cuda.graphs
        assert make.cuda.launches == 2
        for seed in range(3):
            _check(engine, tiny, 3, seed)
        assert make.cuda.launches == 3


def test_without_the_option_nothing_is_captured(make, tiny):
    with make() as engine:
        for _ in range(4):
            _check(engine, tiny, 3)
        assert make.cuda.launches == 0
        assert not make.cuda.graphs


@pytest.mark.parametrize(("cuda_graphs", "strategy"), [(False, "DISABLED"), (True, "WHOLE_GRAPH_CAPTURE")])
def test_rtx_captures_by_itself_and_never_swaps_kernels_later(make, tiny, cuda_graphs, strategy):
    with make(rtx=True, cuda_graphs=cuda_graphs) as engine:
        for _ in range(3):
            _check(engine, tiny, 3)
        config = make.trt.contexts[0]["config"]
        assert config.cuda_graph_strategy.name == strategy
        assert config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
        assert make.cuda.launches == 0
        assert engine.details.backend == "tensorrt-rtx"


def test_both_flavours_live_in_one_process(make, tiny):
    with make() as standard, make(rtx=True) as rtx:
        for _ in range(2):
            _check(standard, tiny, 3)
            _check(rtx, tiny, 5)
        assert (standard.details.backend, rtx.details.backend) == ("tensorrt", "tensorrt-rtx")


def test_labels_outside_the_classes_never_reach_the_gpu(make, tiny):
    classes = {**tiny.METADATA, "glow_deploy.role": "encoder", "glow_deploy.num_classes": "3"}
    inputs = {**SHAPES, "y": ((), "int64")}
    with make(metadata=classes, inputs=inputs) as engine:
        engine.run({"x": tiny.images(2), "y": np.array([0, 2])})
        for wrong in ([0, 3], [-1, 0]):
            with pytest.raises(EngineError, match=r"0\.\.2"):
                engine.run({"x": tiny.images(2), "y": np.array(wrong)})


def _public(kind) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def _missing(stand_ins, trt) -> list[str]:
    """Names of the stand-ins that the installed module does not have."""
    pairs = [
        (stand_ins.Engine, trt.ICudaEngine, set()),
        (stand_ins.Context, trt.IExecutionContext, set()),
    ]
    missing = []
    for ours, theirs, extra in pairs:
        missing += [f"{theirs.__name__}.{name}" for name in _public(ours) | extra if not hasattr(theirs, name)]
    module = stand_ins.StandInTensorRT(None, inputs={}, outputs={}, compute=None, rtx=True)
    for kind in ("Runtime", "ILogger", "TensorIOMode", "DataType", "CudaGraphStrategy"):
        ours, theirs = getattr(module, kind), getattr(trt, kind)
        missing += [f"{kind}.{name}" for name in _public(ours) if not hasattr(theirs, name)]
    kind = "DynamicShapesKernelSpecializationStrategy"
    missing += [name for name in getattr(module, kind).__members__ if not hasattr(getattr(trt, kind), name)]
    names = {"Runtime": ["engine_host_code_allowed"], "IRuntimeConfig": list(vars(stand_ins.RuntimeConfig()))}
    missing += [f"{k}.{name}" for k, listed in names.items() for name in listed if not hasattr(getattr(trt, k), name)]
    return missing


def test_every_name_of_the_stand_ins_exists_in_the_installed_tensorrt_rtx(stand_ins):
    trt = pytest.importorskip("tensorrt_rtx")
    assert _missing(stand_ins, trt) == []


def test_the_check_of_names_can_fail(stand_ins, monkeypatch):
    trt = pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(stand_ins.Context, "execute_async_v9", lambda self: True, raising=False)
    monkeypatch.setattr(stand_ins.Engine, "get_binding_index", 1, raising=False)  # gone since TensorRT 10
    assert _missing(stand_ins, trt) == ["ICudaEngine.get_binding_index", "IExecutionContext.execute_async_v9"]
