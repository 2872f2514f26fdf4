from glow_deploy.artifact.flavors import PLANS, engine_files


def test_engines_of_a_bundle_are_called_what_released_bundles_call_them():
    assert engine_files("onnx") == ("encoder.onnx", "decoder.onnx")
    assert engine_files("tensorrt") == ("encoder.trt", "decoder.trt")
    assert engine_files("rtx") == ("encoder.rtx.trt", "decoder.rtx.trt")
    assert PLANS == ("encoder.trt", "decoder.trt", "encoder.rtx.trt", "decoder.rtx.trt")
