"""doctor tells what a provider computes in, from a measurement."""

from glow_deploy.doctor import arithmetic
from glow_deploy.doctor import report as doctor
from glow_deploy.doctor.arithmetic import Arithmetic


def test_the_cpu_is_found_to_compute_in_float32():
    (cpu,) = [each for each in doctor.examine().arithmetic if each.backend == "onnxruntime-cpu"]
    assert cpu.float32 is True
    assert cpu.text == "float32 (measured)"


def test_reduced_arithmetic_is_advised_against_with_its_cause():
    found = (Arithmetic(backend="onnxruntime-cuda", text="TF32!", detail="", float32=False),)
    (forced,) = arithmetic.arithmetic_advice(found, {"NVIDIA_TF32_OVERRIDE": "1"})
    assert "unset it" in forced
    (ignored,) = arithmetic.arithmetic_advice(found, {})
    assert "ignores" in ignored
    assert arithmetic.arithmetic_advice((Arithmetic(backend="a", text="", detail="", float32=None),), {}) == []
