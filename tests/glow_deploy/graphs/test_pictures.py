"""Graphs of 8-bit pictures: the rules of pixels, in the graph, bit for bit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import sha256_file
from glow_deploy.artifact.manifest import PICTURE_GRAPHS
from glow_deploy.errors import BundleError
from glow_deploy.images import values_to_x, x_to_values


@pytest.fixture(scope="module")
def exported_with(making, tmp_path_factory):
    """Export small models with graphs of pictures; each once."""
    from glow_deploy.export import export

    folder, made = tmp_path_factory.mktemp("pictures"), {}

    def get(*, io="uint8", **options):
        key = repr((io, sorted(options.items())))
        if key not in made:
            place = folder / str(len(made))
            model = making.export_model(place, golden=4, steps=1, width=4, **options)
            made[key] = export(model.ckpt, out=place / "pictures", golden=4, io=io)
        return made[key]

    return get


def session(model):
    import onnxruntime

    data = model if isinstance(model, bytes) else model.SerializeToString()
    opened = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]
    return lambda feeds: dict(zip(names, opened.run(None, feeds), strict=True))


def swapped(pictures, io):
    return pictures.transpose(0, 2, 3, 1) if io == "uint8-nhwc" else pictures


MODELS = [
    pytest.param({"n_bits": 8}, "uint8", id="8-bit"),
    pytest.param({"n_bits": 5, "channels": 1, "image_size": (8, 16)}, "uint8-nhwc", id="5-bit-grey-wide-nhwc"),
    pytest.param({"n_bits": 3, "num_classes": 3, "coupling": "additive"}, "uint8-nhwc", id="3-bit-classes-nhwc"),
    pytest.param({"n_bits": 1}, "uint8", id="1-bit"),
]


@pytest.mark.parametrize(("options", "io"), MODELS)
def test_pictures_in_and_out_are_those_of_our_own_rules_to_the_bit(exported_with, options, io):
    bundle = exported_with(io=io, **options)
    manifest = bundle.manifest
    graphs = [bundle.path / name for name in ("encoder.onnx", "decoder.onnx", *PICTURE_GRAPHS)]
    for path in graphs[2:]:
        onnx.checker.check_model(onnx.load(path), full_check=True)
    encode, decode, read, write = (session(path.read_bytes()) for path in graphs)
    # Every value that a pixel can have, several times over.
    values = np.resize(np.arange(256, dtype=np.uint8), (6, *manifest.image_shape))
    labels = {} if manifest.num_classes is None else {"y": np.arange(6, dtype=np.int64) % 3}
    ours = encode({"x": values_to_x(values, manifest.n_bits)} | labels)
    theirs = read({"pixels": np.ascontiguousarray(swapped(values, io))} | labels)
    assert set(theirs) == set(ours)
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs[name], array)
    hot = {name: 3 * array for name, array in ours.items() if name != "log_prob"}  # x leaves [0, 1]
    x = decode(hot | labels)["x"]
    assert (x < 0).any() or (x > 1).any()
    pictures = write(hot | labels)["pixels"]
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, swapped(x_to_values(x, manifest.n_bits), io))
    back = write({name: array for name, array in ours.items() if name != "log_prob"} | labels)["pixels"]
    np.testing.assert_array_equal(back, swapped(x_to_values(values_to_x(values, manifest.n_bits), manifest.n_bits), io))


def test_the_other_graphs_are_the_same_bytes_with_and_without(exported_with, making, tmp_path):
    with_them = exported_with(n_bits=8).path
    plain = with_them.parent / "bundle"  # what export_model made, of the same checkpoint
    for name in ("encoder.onnx", "decoder.onnx", "golden.npz"):
        assert (with_them / name).read_bytes() == (plain / name).read_bytes()
    assert not any((plain / name).exists() for name in PICTURE_GRAPHS)


def check(bundle):
    from glow_deploy.verify.weights import check_weights

    return check_weights(Bundle.open(bundle), plan=None)


def test_verify_compares_them_and_notices_any_change(exported_with, tmp_path):
    bundle = exported_with(n_bits=8).path
    report = check(bundle)
    assert {c.name: c.found for c in report.checks}["graphs of 8-bit pictures"] == "pass"

    def centred_twice(model):
        next(t for t in model.graph.initializer if t.name == "pixels/half").raw_data = np.float32(0).tobytes()

    def other_weight(model):
        tensor = next(t for t in model.graph.initializer if t.name.endswith("invconv/weight"))
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] += np.float32(1e-6)
        tensor.raw_data = values.tobytes()

    def not_clamped(model):
        del next(node for node in model.graph.node if node.name == "pixels/bin").input[2:]

    for name, change in (
        (PICTURE_GRAPHS[0], centred_twice),
        (PICTURE_GRAPHS[0], other_weight),
        (PICTURE_GRAPHS[1], not_clamped),
    ):
        copy = tmp_path / change.__name__
        shutil.copytree(bundle, copy)
        model = onnx.load(copy / name)
        change(model)
        onnx.save(model, copy / name)
        with pytest.raises(BundleError, match="sha256 differs"):
            check(copy)
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["files"][name] = sha256_file(copy / name)
        (copy / "manifest.json").write_text(json.dumps(manifest))
        report = check(copy)
        assert report.verdict == "unsound"
        assert report.findings[0].files == (name,)


def test_a_tool_that_is_given_one_refuses_it_in_one_line(exported_with):
    from glow_deploy import open_engine

    for name in PICTURE_GRAPHS:
        with pytest.raises(BundleError, match="takes or gives 8-bit pictures, for programs of yours") as error:
            open_engine(exported_with(n_bits=8).path / name)
        assert "\n" not in str(error.value)


def test_the_bundle_works_as_ever_and_a_later_export_removes_them(exported_with, tmp_path):
    import glow_deploy

    place = exported_with(n_bits=8).path
    with glow_deploy.load(place) as model:
        assert model.sample(2, seed=0).pixels.shape == (2, 8, 8, 3)
    assert all(name in str(glow_deploy.inspect(place).tables) for name in PICTURE_GRAPHS)
    shutil.copytree(place, tmp_path / "b")
    again = glow_deploy.export(place.parent / "ckpt.pt", out=tmp_path / "b", golden=4, force=True)
    assert not any((again.path / name).exists() for name in PICTURE_GRAPHS)


def test_a_manifest_with_one_of_them_alone_is_damaged(exported_with, tmp_path):
    shutil.copytree(exported_with(n_bits=8).path, tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    del manifest["files"][PICTURE_GRAPHS[0]]
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="malformed"):
        Bundle.open(tmp_path / "b")
