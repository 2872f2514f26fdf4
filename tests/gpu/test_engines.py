"""Each GPU backend against ONNX Runtime on the CPU, and against itself."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines import open_engine
from glow_deploy.errors import MissingDependencyError

pytestmark = pytest.mark.gpu

# Float32 against float32 in another order of summation; TF32 would miss it by two orders of magnitude.
TOLERANCE = 2e-4


def _difference(found: dict, wanted: dict) -> float:
    """Largest difference, in units of the wanted array's rms (or of 1 where that is smaller)."""
    worst = 0.0
    for name, array in wanted.items():
        assert np.isfinite(found[name]).all(), name
        reference = array.astype(np.float64)
        scale = max(1.0, float(np.sqrt(np.mean(reference**2))))
        worst = max(worst, float(np.abs(found[name].astype(np.float64) - reference).max()) / scale)
    return worst


def _feeds(golden, role, rows) -> dict:
    index = np.arange(rows) % len(golden.x)
    if role == "encoder":
        return {"x": golden.x[index]}
    return {f"z{level}": z[index].astype(np.float32) for level, z in enumerate(golden.z, 1)}


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 21])
def test_outputs_are_those_of_the_cpu_at_any_batch(bundle, engine_file, golden, role, rows):
    feeds = _feeds(golden, role, rows)
    with (
        open_engine(engine_file(role), device="cuda") as engine,
        open_engine(bundle / f"{role}.onnx", device="cpu") as cpu,
    ):
        assert _difference(engine.run(feeds), cpu.run(feeds)) < TOLERANCE


def test_the_tolerance_notices_a_small_shift(bundle, engine_file, golden):
    feeds = _feeds(golden, "decoder", 3)
    with open_engine(engine_file("decoder"), device="cuda") as engine:
        right = engine.run(feeds)
        wrong = engine.run({**feeds, "z1": feeds["z1"] * np.float32(1.003)})
    assert _difference(wrong, right) > TOLERANCE


def test_tf32_is_off_and_the_device_is_the_gpu(backend, engine_file):
    with open_engine(engine_file("encoder"), device="cuda") as engine:
        details = engine.details
        assert details.tf32 is False
        assert details.backend == backend
        assert details.device.startswith("cuda:0")
        assert "CPU" not in details.provider


def test_equal_rows_give_equal_results_and_a_batch_is_its_parts(engine_file, golden):
    with open_engine(engine_file("encoder"), device="cuda") as engine:
        x = golden.x[:7]
        equal = engine.run({"x": np.repeat(x[:1], 7, axis=0)})
        assert _difference(equal, {name: np.repeat(array[:1], 7, axis=0) for name, array in equal.items()}) < TOLERANCE
        whole = engine.run({"x": x})
        parts = [engine.run({"x": x[start : start + 3]}) for start in (0, 3, 6)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in whole}
        assert _difference(joined, whole) < TOLERANCE


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_cuda_graphs_change_nothing(backend, engine_file, golden, role):
    if backend == "onnxruntime-cuda":
        pytest.skip("CUDA graphs are an option of the TensorRT engines")
    plain = open_engine(engine_file(role), device="cuda")
    graphs = open_engine(engine_file(role), device="cuda", cuda_graphs=True)
    with plain, graphs:
        for rows in (4, 4, 4, 4, 2, 2, 2, 11, 4, 4, 4):
            feeds = {name: np.roll(array, rows, axis=0) for name, array in _feeds(golden, role, rows).items()}
            assert _difference(graphs.run(feeds), plain.run(feeds)) < TOLERANCE


def test_two_engines_work_side_by_side(engine_file, golden):
    encoder = open_engine(engine_file("encoder"), device="cuda")
    decoder = open_engine(engine_file("decoder"), device="cuda")
    with encoder, decoder:
        for rows in (3, 5):
            latents = encoder.run({"x": golden.x[:rows]})
            latents.pop("log_prob")
            assert np.abs(decoder.run(latents)["x"] - golden.x[:rows]).max() < 2**-6  # exact at 5 bits


def test_memory_comes_back_on_close(backend, engine_file, golden):
    if backend == "onnxruntime-cuda":
        pytest.skip("ONNX Runtime keeps an arena of its own for the process")
    from cuda.bindings import runtime

    def free() -> int:
        _, available, _ = runtime.cudaMemGetInfo()
        return int(available)

    def use():
        with open_engine(engine_file("decoder"), device="cuda") as engine:
            engine.run(_feeds(golden, "decoder", 8))

    use()  # the first use loads modules that stay
    before = free()
    for _ in range(5):
        use()
    assert before - free() < 8 << 20


def test_a_gpu_that_is_not_there_is_an_error(engine_file):
    with pytest.raises(MissingDependencyError, match="63"):
        open_engine(engine_file("encoder"), device="cuda:63")
