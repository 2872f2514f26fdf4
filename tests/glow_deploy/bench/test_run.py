from __future__ import annotations

import numpy as np

from glow_deploy.bench import BenchSettings, time_engine
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
