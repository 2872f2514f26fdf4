"""doctor tells what a provider computes in, from a measurement."""

from glow_deploy.doctor import examine
from glow_deploy.doctor.arithmetic import Arithmetic, arithmetic_advice


def test_the_cpu_is_found_to_compute_in_float32():
    found = {each.backend: each for each in examine().arithmetic}
    assert found["onnxruntime-cpu"].float32 is True
    assert found["onnxruntime-cpu"].text == "float32 (measured)"
    if "openvino-cpu" in found:
        assert found["openvino-cpu"].float32 is True
        assert "bfloat16 would be" in found["openvino-cpu"].detail
    assert (found["onnxruntime-cpu"].integers, found["onnxruntime-cpu"].exact) == ("exact", True)


def test_reduced_arithmetic_is_advised_against_with_its_cause():
    found = (Arithmetic(backend="onnxruntime-cuda", text="TF32!", detail="", float32=False),)
    (forced,) = arithmetic_advice(found, {"NVIDIA_TF32_OVERRIDE": "1"})
    assert "unset it" in forced
    (ignored,) = arithmetic_advice(found, {})
    assert "ignores" in ignored
    assert arithmetic_advice((Arithmetic(backend="a", text="", detail="", float32=None),), {}) == []


def test_openvinos_default_is_told_apart_from_a_hint_that_is_ignored():
    def advised(backend):
        (line,) = arithmetic_advice((Arithmetic(backend=backend, text="bfloat16!", detail="", float32=False),), {})
        return line

    assert "in bfloat16 here unless told otherwise: ask for INFERENCE_PRECISION_HINT=f32" in advised(
        "openvino-cpu-default"
    )
    assert "OpenVINO ignores that f32 was asked for" in advised("openvino-cpu")
