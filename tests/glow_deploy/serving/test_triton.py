"""The models of the Python backend give the very numbers of the commands."""

from __future__ import annotations

import numpy as np
import pytest
from fake_triton import Server, TritonError

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.canary import judge_integers, make_integers
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import BundleError
from glow_deploy.images import x_to_values
from glow_deploy.latents import concatenate_samples, sample
from glow_deploy.scoring import ScoreSettings, score_images
from glow_deploy.serving import TritonSettings, write_repository


@pytest.fixture
def serve(tmp_path, monkeypatch):
    def start(path, **settings):
        write_repository(
            path, tmp_path / "repo", settings=TritonSettings(backend="python", device="cpu", threads=1, **settings)
        )
        return Server(tmp_path / "repo", monkeypatch)

    return start


@pytest.mark.parametrize("kind", ["bundle", "class_bundle"])
def test_engines_scores_and_samples_are_those_of_the_commands(kind, request, serve):
    path = request.getfixturevalue(kind)
    server, opened = serve(path, max_batch=4), Bundle.open(path)
    golden, n_bits = opened.golden(), opened.manifest.n_bits
    y = {} if golden.y is None else {"y": golden.y}
    with open_pair(path) as (encoder, decoder):
        wanted = encoder.run({"x": golden.x, **y})
        column = {name: labels[:, None] for name, labels in y.items()}
        # Three requests of several sizes, joined by the server.
        cuts = [slice(0, 1), slice(1, 3), slice(3, 6)]
        parts = server.ask(
            "glow-encoder",
            *({"x": golden.x[cut], **{name: labels[cut] for name, labels in column.items()}} for cut in cuts),
        )
        for name, array in wanted.items():
            found = np.concatenate([part[name] for part in parts])
            np.testing.assert_allclose(found.reshape(array.shape), array, rtol=0, atol=1e-4)
        values = x_to_values(golden.x, n_bits)
        more = {"seed": np.array([7], np.uint64), "draws": np.array([3])}
        scored = server.ask("glow-score", {"image": values, **y, **more})[0]
        expected = score_images(encoder, values, settings=ScoreSettings(draws=3, seed=7, batch=4), labels=golden.y)
        for name in ("bits_per_dim", "log_prob", "bits_per_dim_centre", "level_squares"):
            np.testing.assert_allclose(scored[name], getattr(expected, name), rtol=1e-6)
        labels = (2, 0) if y else None
        asked = {"count": np.array([5]), "start": np.array([2]), "seed": np.array([9], np.uint64)}
        asked |= {"temperature": np.array([0.7], np.float32)} | ({"y": np.array(labels)} if y else {})
        drawn = server.ask("glow-sample", asked)[0]
        same = concatenate_samples(sample(decoder, count=5, start=2, seed=9, temperature=0.7, labels=labels))
        np.testing.assert_array_equal(drawn["image"], x_to_values(same.x, n_bits))
        np.testing.assert_array_equal(drawn["redraws"], same.attempts)
        elsewhere = server.ask("glow-sample", {**asked, "seed": np.array([8], np.uint64)})[0]
        assert (elsewhere["image"] != drawn["image"]).any()


def test_an_exact_bundle_gives_and_takes_integers(exact_bundle, serve):
    server, golden = serve(exact_bundle, max_batch=4), Bundle.open(exact_bundle).golden()
    y = golden.y[:3, None]
    (found,) = server.ask("glow-encoder", {"x": golden.x[:3], "y": y})
    for level, integers in enumerate(golden.integers, 1):
        np.testing.assert_array_equal(found[f"z{level}"], integers[:3])
    x = make_integers().x
    pieces = [server.ask("glow-integers", {"z1": x[row : row + 4]})[0]["x"] for row in range(0, len(x), 4)]
    assert judge_integers(lambda _: np.concatenate(pieces)).arithmetic == "exact"
    z = {name: array for name, array in found.items() if name[0] == "z"}
    (back,) = server.ask("glow-decoder", {**z, "y": y, "as_normal": np.zeros((3, 1, 1, 1), np.float32)})
    np.testing.assert_array_equal(back["x"], golden.x[:3])
    with open_pair(exact_bundle) as (encoder, _):
        values = x_to_values(golden.x, encoder.n_bits)
        scored = server.ask("glow-score", {"image": values, "y": golden.y})[0]
        expected = score_images(encoder, values, settings=ScoreSettings(batch=4), labels=golden.y)
        np.testing.assert_allclose(scored["bits_per_dim"], expected.bits_per_dim, rtol=1e-6)


def test_a_request_that_cannot_be_answered_spoils_no_other(class_bundle, serve):
    server, golden = serve(class_bundle), Bundle.open(class_bundle).golden()
    good = {"x": golden.x[:1], "y": golden.y[:1, None]}
    alone = server.ask("glow-encoder", good)[0]
    bad, fine = server.ask("glow-encoder", {"x": golden.x[:1], "y": np.array([[3]])}, good)
    assert isinstance(bad, TritonError)
    assert "0..2" in bad.message()
    assert bad.code == TritonError.INVALID_ARG
    np.testing.assert_array_equal(fine["log_prob"], alone["log_prob"])


@pytest.mark.parametrize(
    ("model", "request_", "said"),
    [
        ("glow-sample", {"count": np.array([0])}, "count must be 1 to"),
        ("glow-sample", {"count": np.array([10**6])}, "count must be 1 to"),
        ("glow-sample", {"count": np.array([1]), "start": np.array([-1])}, "start must be"),
        ("glow-sample", {"count": np.array([1]), "temperature": np.array([1, 2, 3], np.float32)}, "3 temperatures"),
        ("glow-sample", {"count": np.array([1]), "temperature": np.array([np.nan], np.float32)}, "temperature"),
        ("glow-score", {"image": np.zeros((0, 3, 16, 8), np.uint8)}, "1 to"),
        ("glow-score", {"image": np.zeros((1, 3, 16, 8), np.uint8), "draws": np.array([0])}, "draws must be"),
    ],
)
def test_requests_out_of_range_are_one_line(bundle, serve, model, request_, said):
    found = serve(bundle).ask(model, request_)[0]
    assert isinstance(found, TritonError)
    assert said in found.message()
    assert found.code == TritonError.INVALID_ARG


def test_the_engines_are_asked_for_no_more_rows_than_they_take(bundle, serve):
    server = serve(bundle, max_batch=4)
    values = np.zeros((9, 3, 16, 8), np.uint8)
    assert server.ask("glow-score", {"image": values})[0]["log_prob"].shape == (9,)
    server.configs["glow-encoder"]["max_batch_size"] = [2]  # as a plan may have it
    refused = server.ask("glow-score", {"image": values})[0]
    assert isinstance(refused, TritonError)
    assert "more than 2" in refused.message()


def test_a_changed_graph_is_not_run(bundle, tmp_path, monkeypatch):
    write_repository(bundle, tmp_path / "repo", settings=TritonSettings(backend="python"))
    graph = tmp_path / "repo" / "glow-encoder" / "1" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=r"config\.pbtxt"):
        Server(tmp_path / "repo", monkeypatch)
