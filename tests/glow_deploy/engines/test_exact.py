from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines.exact import ExactEngine, like_others
from glow_deploy.errors import EngineError
from glow_deploy.protocol import EngineDetails, TensorSpec


class Doubler:
    """An exact encoder and decoder of one value: z = 2 x, in units of a quarter; in range up to 10."""

    n_bits, num_classes = 8, None

    def __init__(self, role, precision="exact"):
        self.role = role
        single = {
            name: TensorSpec(name=name, dtype="float32", shape=(1, 1, 1))
            for name in ("x", "z1", "normal1", "as_normal")
        }
        flags = {name: TensorSpec(name=name, dtype="float32", shape=()) for name in ("log_prob", "in_range")}
        if role == "encoder":
            self.inputs = (single["x"],)
            self.outputs = (single["z1"], single["normal1"], flags["log_prob"], flags["in_range"])
        else:
            self.inputs, self.outputs = (single["z1"], single["as_normal"]), (single["x"], flags["in_range"])
        self.details = EngineDetails(
            backend="test", provider="test", device="cpu", precision=precision, tf32=False, versions={}
        )
        self.closed = False

    def run(self, feeds):
        if set(feeds) != {spec.name for spec in self.inputs}:
            raise EngineError(f"takes {[spec.name for spec in self.inputs]}")
        if self.role == "encoder":
            z = np.rint(2 * feeds["x"])
            inside = (np.abs(z) <= 10).all(axis=(1, 2, 3)).astype(np.float32)
            return {"z1": z, "normal1": z / 4, "log_prob": np.zeros(len(z), np.float32), "in_range": inside}
        z = np.rint(np.where(feeds["as_normal"] == 1, 4 * feeds["z1"], feeds["z1"]))
        return {"x": z / 2, "in_range": (np.abs(z) <= 10).all(axis=(1, 2, 3)).astype(np.float32)}

    def close(self):
        self.closed = True


def column(*values):
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def test_latents_are_standard_normal_numbers_both_ways():
    encoder, decoder = ExactEngine(Doubler("encoder")), ExactEngine(Doubler("decoder"))
    assert [spec.name for spec in encoder.outputs] == ["z1", "log_prob"]
    assert [spec.name for spec in decoder.inputs] == ["z1"]
    assert [spec.name for spec in decoder.outputs] == ["x"]
    found = encoder.run({"x": column(1, -2)})
    np.testing.assert_array_equal(found["z1"], column(0.5, -1))
    np.testing.assert_array_equal(decoder.run({"z1": found["z1"]})["x"], column(1, -2))


def test_rows_out_of_range_are_nan_and_the_others_are_not():
    found = ExactEngine(Doubler("encoder")).run({"x": column(1, 50, 2)})
    np.testing.assert_array_equal(np.isnan(found["z1"]).ravel(), [False, True, False])
    np.testing.assert_array_equal(np.isnan(found["log_prob"]), [False, True, False])
    back = ExactEngine(Doubler("decoder")).run({"z1": column(0.5, 400)})["x"]
    np.testing.assert_array_equal(np.isnan(back).ravel(), [False, True])


def test_other_engines_are_left_alone():
    other = Doubler("encoder", precision="fp32")
    assert like_others(other) is other
    assert isinstance(like_others(Doubler("encoder")), ExactEngine)


def test_what_does_not_fit_is_the_engines_to_refuse():
    with pytest.raises(EngineError):
        ExactEngine(Doubler("decoder")).run({"x": column(1)})


def test_closing_closes_the_engine_of_the_graph():
    held = Doubler("encoder")
    with ExactEngine(held):
        assert not held.closed
    assert held.closed
