import numpy as np
import pytest

from glow_deploy.bench import BenchSettings, time_engine
from glow_deploy.bench.matrix_rate import matrix_rate
from glow_deploy.errors import UsageError
from glow_deploy.inspect.flops import convolutions, flops_per_image
from glow_deploy.protocol import EngineDetails, TensorSpec


class Decoder:
    """Counts its runs."""

    role = "decoder"
    num_classes = 2
    inputs = (TensorSpec(name="z1", dtype="float32", shape=(4, 2, 2)), TensorSpec(name="y", dtype="int64", shape=()))
    details = EngineDetails(backend="b", provider="p", device="cpu", precision="fp32", tf32=False, versions={})

    def __init__(self):
        self.feeds = []

    def run(self, feeds):
        self.feeds.append(feeds)
        return {}


def test_runs_are_counted_after_the_warm_up():
    engine = Decoder()
    times = time_engine(engine, 3, settings=BenchSettings(iterations=7, warmup_seconds=0.0))
    assert len(times) == 7
    assert len(engine.feeds) == 9  # two to warm up
    assert engine.feeds[0]["z1"].shape == (3, 4, 2, 2)
    assert engine.feeds[0]["y"].dtype == np.int64
    assert engine.feeds[0]["y"].tolist() == [0, 1, 0]


def test_a_duration_means_at_least_ten_runs():
    assert len(time_engine(Decoder(), 1, settings=BenchSettings(duration=1e-9, warmup_seconds=0.0))) == 10


@pytest.mark.parametrize(
    "options", [{"batches": ()}, {"batches": (0,)}, {"iterations": 0}, {"duration": 0.0}, {"roles": ()}, {"threads": 0}]
)
def test_settings_are_checked(options):
    with pytest.raises(UsageError):
        BenchSettings(**options)


def test_flops_are_those_of_the_convolutions():
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, 4, 4])
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["s"], blocksize=2),
        helper.make_node("Conv", ["s", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    weight = numpy_helper.from_array(np.zeros((5, 12, 3, 3), np.float32), "w")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight]), ir_version=10)
    (conv,) = convolutions(model)
    assert (conv.rows, conv.inner, conv.columns) == (5, 12 * 9, 16)
    assert flops_per_image(model) == 2 * 5 * 12 * 9 * 16


def test_the_matrix_rate_is_plausible():
    rate = matrix_rate([(64, 64, 64)], seconds=0.02)
    assert rate.library in ("numpy", "onnxruntime")
    assert 1e7 < rate.flops_per_second < 1e15
    with pytest.raises(UsageError):
        matrix_rate([])
