"""A bundle, and a program elsewhere that was fed its golden images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle

sys.path.insert(0, str(Path(__file__).parent))  # tool_files.py is imported by name


@pytest.fixture(scope="session")
def bundle(making, tmp_path_factory):
    """Two levels, affine, LU, RGB, not square; 16 golden images."""
    made = making.export_model(tmp_path_factory.mktemp("offline"), golden=16, image_size=(8, 16))
    return Bundle.open(made.bundle)


@pytest.fixture(scope="session")
def elsewhere():
    """Run a bundle in ONNX Runtime as a program that knows it by its graphs alone; all that can be saved, by name."""
    import onnxruntime

    def run(bundle, inputs) -> dict[str, np.ndarray]:
        def session(path):
            opened = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            names = [output.name for output in opened.get_outputs()]
            return lambda feeds: dict(zip(names, opened.run(None, feeds), strict=True))

        from glow_deploy.canary import make_canary
        from glow_deploy.canary.graph import canary_graph

        def of(place):
            return {
                name.partition(".")[2]: array for name, array in inputs.tensors.items() if name.startswith(f"{place}.")
            }

        encode, decode = session(bundle.path / "encoder.onnx"), session(bundle.path / "decoder.onnx")
        labels = {"y": inputs.tensors["encoder.y"]} if "encoder.y" in inputs.tensors else {}
        coded = encode(of("encoder"))
        latents = {name: array for name, array in coded.items() if name != "log_prob"}
        returned = decode(latents | labels)
        again = encode({"x": returned["x"]} | labels)
        return {
            **{f"encoder.{name}": array for name, array in coded.items()},
            "decoder.x": decode(of("decoder"))["x"],
            "round_trip.x": returned["x"],
            **{f"round_trip.{name}": array for name, array in again.items()},
            "canary.x": session(canary_graph(make_canary()))(of("canary"))["x"],
        }

    return run


@pytest.fixture(scope="session")
def saved(bundle, elsewhere):
    """What such a program made of all golden images."""
    from glow_deploy.offline import golden_inputs

    return elsewhere(bundle, golden_inputs(bundle))
