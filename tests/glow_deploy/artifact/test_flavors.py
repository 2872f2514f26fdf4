from glow_deploy.artifact.flavors import OPENVINO, PLANS, engine_files, graph_backend


def test_engines_of_a_bundle_are_called_what_released_bundles_call_them():
    assert engine_files("onnx") == ("encoder.onnx", "decoder.onnx")
    assert engine_files("tensorrt") == ("encoder.trt", "decoder.trt")
    assert engine_files("rtx") == ("encoder.rtx.trt", "decoder.rtx.trt")
    assert PLANS == ("encoder.trt", "decoder.trt", "encoder.rtx.trt", "decoder.rtx.trt")


def test_openvino_runs_the_graphs_and_plans_tell_their_own_runtime():
    for name in OPENVINO:
        assert engine_files(name) == engine_files("onnx")
        assert graph_backend(name) == name
    assert {graph_backend(name) for name in ("onnx", "rtx", "tensorrt", "onnxruntime-cpu", "tensorrt-rtx")} == {"auto"}
