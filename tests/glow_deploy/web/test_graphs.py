"""Graphs that share their weights compute what the bundle's do; rounded ones what their rounding says."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from glow_deploy.errors import BundleError
from glow_deploy.web.graphs import WEIGHTS, rounded_pair, web_graphs


@pytest.fixture(scope="module", params=["affine", "additive", "plain", "classes", "grey", "mixed"])
def some(request, make_bundle):
    config = {
        "affine": {},
        "additive": {"coupling": "additive"},
        "plain": {"permutation": "plain", "image_size": (8, 12)},
        "classes": {"num_classes": 3},
        "grey": {"channels": 1, "n_bits": 8, "levels": 1},
        "mixed": {"precision": "mixed"},
    }[request.param]
    return make_bundle(request.param, **config)


def read(bundle):
    return [(bundle / name).read_bytes() for name in ("encoder.onnx", "decoder.onnx")]


def run_all(folder, encoder, decoder, bundle):
    """What the pair makes of golden images and of their latents."""
    import onnxruntime as ort

    from glow_deploy.artifact.bundle import Bundle

    golden = Bundle.open(bundle).golden()
    labels = {} if golden.y is None else {"y": golden.y}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    found = {}
    for name, data in (("encoder", encoder), ("decoder", decoder)):
        (folder / f"{name}.onnx").write_bytes(data)
        session = ort.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        z = {f"z{i}": z.astype(np.float32) for i, z in enumerate(golden.z, start=1)}
        feeds = {"x": golden.x} if name == "encoder" else z
        names = [output.name for output in session.get_outputs()]
        found |= {f"{name} {key}": value for key, value in zip(names, session.run(None, feeds | labels), strict=True)}
    return found


def test_shared_weights_change_no_bit(some, tmp_path):
    own = run_all(tmp_path, *read(some), some)
    made = web_graphs(*read(some))
    (tmp_path / WEIGHTS).write_bytes(made.weights)
    shared = run_all(tmp_path, made.encoder, made.decoder, some)
    assert own.keys() == shared.keys()
    for name, value in own.items():
        # The padded channels may be summed in another order.
        np.testing.assert_allclose(shared[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_visitor_loads_the_conditioners_once(bundle):
    encoder, decoder = read(bundle)
    made = web_graphs(encoder, decoder)
    assert len(made.weights) > 1000
    assert len(made.encoder) + len(made.decoder) + len(made.weights) < 0.8 * (len(encoder) + len(decoder))
    assert web_graphs(encoder, decoder) == made


def test_rounded_weights_are_cast_and_compute_what_rounding_says(bundle, tmp_path):
    encoder, decoder = read(bundle)
    made = web_graphs(encoder, decoder, weights="float16")
    assert len(made.weights) < 0.55 * len(web_graphs(encoder, decoder).weights)
    (tmp_path / WEIGHTS).write_bytes(made.weights)
    small = run_all(tmp_path, made.encoder, made.decoder, bundle)
    own = run_all(tmp_path, encoder, decoder, bundle)
    rounded = run_all(tmp_path, *rounded_pair(encoder, decoder), bundle)
    for name, value in rounded.items():
        np.testing.assert_allclose(small[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert any(np.abs(rounded[name] - value).max() > 1e-4 for name, value in own.items()), "nothing was rounded"


def test_only_conditioners_are_rounded(bundle):
    made = web_graphs(*read(bundle), weights="float16")
    for data in (made.encoder, made.decoder):
        narrow = {
            t.name for t in onnx.load_from_string(data).graph.initializer if t.data_type == onnx.TensorProto.FLOAT16
        }
        assert narrow
        assert all("/coupling/" in name or "/split/" in name for name in narrow)


def arrays(data):
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(data).graph.initializer}


def test_what_is_measured_as_rounded_is_what_the_site_has_rounded(bundle):
    """Also where the graphs do not hold a conditioner alike: such a weight is in neither."""
    encoder, decoder = read(bundle)
    model = onnx.load_from_string(decoder)
    name = "level1/step01/coupling/conv3/weight"
    odd = next(t for t in model.graph.initializer if t.name == name)
    odd.raw_data = (onnx.numpy_helper.to_array(odd) * np.float32(1.001)).tobytes()
    for pair, both in (((encoder, decoder), True), ((encoder, model.SerializeToString()), False)):
        made = web_graphs(*pair, weights="float16")
        for own, site, rounded in zip(pair, (made.encoder, made.decoder), rounded_pair(*pair), strict=True):
            narrow = {t.removesuffix("/float16") for t in names(site) if t.endswith("/float16")}
            before, after = arrays(own), arrays(rounded)
            assert narrow == {t for t in before if not np.array_equal(before[t], after[t])}
            assert (name in narrow) == both
            assert narrow


def names(data):
    return {tensor.name for tensor in onnx.load_from_string(data).graph.initializer}


def test_convolutions_of_neighbours_have_whole_groups_of_channels(bundle):
    """6 of them are computed wrong on WebGPU."""
    before, after = (onnx.load_from_string(data) for data in (read(bundle)[0], web_graphs(*read(bundle)).encoder))

    def odd(model):
        weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
        shapes = [weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
        return [shape for shape in shapes if shape[2:] != (1, 1) and shape[1] > 4 and shape[1] % 4]

    assert odd(before)
    assert not odd(after)


def test_weights_too_large_for_float16_are_refused(bundle):
    spoilt = []
    for data in read(bundle):
        model = onnx.load_from_string(data)
        weight = next(t for t in model.graph.initializer if t.name == "level1/step01/coupling/conv3/weight")
        weight.raw_data = (onnx.numpy_helper.to_array(weight) * 1e9).astype(np.float32).tobytes()
        spoilt.append(model.SerializeToString())
    with pytest.raises(BundleError, match="beyond the range of float16"):
        web_graphs(*spoilt, weights="float16")
    web_graphs(*spoilt)
