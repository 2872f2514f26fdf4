"""One object for one model, held against the functions and the commands that do the same."""

from __future__ import annotations

import doctest
import importlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import glow_deploy
from glow_deploy.errors import (
    DataError,
    EngineError,
    SignatureError,
    UsageError,
)


def some_images(count=3, *, shape=(8, 8, 3), seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def model(bundles):
    with glow_deploy.load(bundles["plain"]) as opened:
        yield opened


def test_doctests(bundles, model):
    images = five_bits(some_images())  # of the model's depth, so that they come back to the last bit
    names = {"bundle": bundles["plain"], "model": model, "images": images}
    for module, fewest in (("deployed", 8), ("load", 4)):
        found = doctest.testmod(importlib.import_module(f"glow_deploy.model.{module}"), extraglobs=names)
        assert (found.failed, found.attempted >= fewest) == (0, True)


def five_bits(values):
    from glow_deploy.images import pixels_to_values, values_to_pixels

    return pixels_to_values(values_to_pixels(values, 5), 5)


def test_samples_are_those_of_the_command(bundles, model, tmp_path):
    from glow_cli.main import app
    from typer.testing import CliRunner

    out = tmp_path / "samples.npz"
    words = ["sample", str(bundles["plain"]), "-n", "5", "--seed", "9", "-t", "0.8", "-o", str(out)]
    assert CliRunner().invoke(app, words).exit_code == 0
    with np.load(out) as archive:
        wanted = archive["images"]
    found = model.sample(5, temperature=0.8, seed=9, batch=2)
    assert np.array_equal(found.pixels, wanted)
    assert found.finite.all()
    assert not np.array_equal(model.sample(5, temperature=0.8, seed=10).pixels, wanted)


def test_a_session_gives_what_the_command_line_gives(bundles, model, tmp_path):
    from glow_cli.main import app
    from typer.testing import CliRunner

    from glow_deploy.latents import save_latents

    def run(*words):
        done = CliRunner().invoke(app, [*map(str, words), "--device", "cpu", "-q"])
        assert done.exit_code == 0, done.output

    bundle = bundles["plain"]
    samples = model.sample(5, seed=3)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, image in zip(paths, samples.images, strict=True):
        image.save(path)
    latents = model.encode(paths, draws=2)
    run("encode", bundle, *paths, "--draws", 2, "--out", tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz") as theirs:
        assert np.array_equal(theirs["z1"], latents.z[0])
        assert np.array_equal(theirs["z2"], latents.z[1])
        assert np.array_equal(theirs["bits_per_dim"], latents.bits_per_dim)
    back = model.decode(latents)
    assert np.array_equal(back.pixels, samples.pixels)
    save_latents(tmp_path / "ours.npz", latents)
    run("decode", bundle, tmp_path / "ours.npz", "--out", tmp_path / "back")
    written = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "back").glob("*.png"))]
    assert np.array_equal(np.stack(written), back.pixels)
    run("score", bundle, *paths, "--reference", "none", "--out", tmp_path / "s.csv")
    column = np.genfromtxt(tmp_path / "s.csv", delimiter=",", names=True)["bits_per_dim"]
    assert np.allclose(column, model.score(paths).bits_per_dim, rtol=1e-8)  # the file has nine digits


def test_latents_and_likelihoods_are_those_of_the_functions(model):
    from glow_deploy.latents import EncodeSettings, encode_images
    from glow_deploy.scoring import ScoreSettings, score_images

    images = some_images()
    values = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    wanted = encode_images(model._encoder, values, settings=EncodeSettings(draws=2, seed=5))
    found = model.encode(images, draws=2, seed=5, batch=2)
    assert all(np.array_equal(a, b) for a, b in zip(found.z, wanted.z, strict=True))
    assert np.array_equal(found.bits_per_dim, wanted.bits_per_dim)
    assert model.encode(images).bits_per_dim is None
    scores = score_images(model._encoder, values, settings=ScoreSettings(draws=3, seed=1))
    assert np.array_equal(model.score(images, draws=3, seed=1).log_prob, scores.log_prob)


def test_images_come_back_to_the_pixel(model):
    images = five_bits(some_images())
    assert np.array_equal(model.reconstruct(images).pixels, images)
    latents = model.encode(images)
    for given in (latents, list(latents.z), {"z1": latents.z[0], "z2": latents.z[1], "log_prob": latents.log_prob}):
        assert np.array_equal(model.decode(given).pixels, images)


def test_interpolation_ends_at_its_images(model):
    images = five_bits(some_images(2))
    way = model.interpolate(images[0], images[1], steps=4, mode="spherical")
    assert np.array_equal(way.pixels[[0, -1]], images)
    assert way.columns == 4
    with pytest.raises(UsageError, match="one image for each end"):
        model.interpolate(images, images[1])


def test_classes(bundles):
    with glow_deploy.load(bundles["classes"]) as model:
        images = some_images()
        one, each = model.encode(images, labels=2), model.encode(images, labels=[2, 2, 2])
        assert all(np.array_equal(a, b) for a, b in zip(one.z, each.z, strict=True))
        assert np.array_equal(model.decode(one).labels, [2, 2, 2])
        assert not np.array_equal(model.decode(one).pixels, model.decode(one, labels=0).pixels)
        assert list(model.sample(4, labels=[0, 1]).labels) == [0, 1, 0, 1]
        with pytest.raises(UsageError, match="labels="):
            model.encode(images)
        with pytest.raises(DataError, match="no class 3"):
            model.encode(images, labels=3)


def test_the_best_class_and_all_classes(bundles):
    with glow_deploy.load(bundles["classes"]) as model:
        samples = model.sample(6, labels="all")
        assert samples.labels.tolist() == [0, 1, 2, 0, 1, 2]
        best = model.encode(samples, labels="best")
        assert np.array_equal(best.labels, best.class_log_prob.argmax(axis=1))
        by_hand = np.stack([model.encode(samples, labels=label).log_prob for label in range(3)], axis=1)
        assert np.allclose(best.class_log_prob, by_hand, rtol=1e-6)
        assert np.array_equal(model.score(samples, labels="best").names, best.names)
        for call, word in ((model.encode, "best"), (model.score, "best")):
            with pytest.raises(UsageError, match=f'labels="{word}"'):
                call(samples, labels="worst")
        with pytest.raises(UsageError, match='labels="all"'):
            model.sample(2, labels="every")


def test_pictures_and_latents_go_in_where_images_do(bundles, model):
    samples = model.sample(2, seed=5)
    assert np.array_equal(model.encode(samples).z[0], model.encode(samples.pixels).z[0])
    assert np.allclose(model.decode(samples).x, samples.x, atol=1e-6)
    first, last = five_bits(some_images(2))
    wanted = model.interpolate(first, last, steps=4, mode="spherical")
    ends = model.encode(first), model.encode(last)
    assert np.array_equal(model.interpolate(*ends, steps=4, mode="spherical").x, wanted.x)
    assert np.array_equal(model.interpolate(ends[0], last, steps=4, mode="spherical").x, wanted.x)
    way = model.interpolate(samples[0], samples[1], steps=3)
    assert np.array_equal(way.z[0][[0, 2]], samples.z[0])
    with pytest.raises(UsageError, match="one image for each end"):
        model.interpolate(samples, samples[0])
    with glow_deploy.load(bundles["classes"]) as other:
        classes = other.sample(3, labels="all")
        assert other.interpolate(classes[0], classes[2], steps=4).labels.tolist() == [0, 0, 2, 2]


def test_grey_models_take_pictures_without_channels(bundles):
    with glow_deploy.load(bundles["grey"]) as model:
        images = some_images(shape=(4, 8))
        assert np.array_equal(model.reconstruct(images).pixels[..., 0], images)
        assert model.sample(1).images[0].mode == "L"


def test_closing_is_for_good_and_twice_is_harmless(bundles):
    model = glow_deploy.load(bundles["plain"])
    pictures, latents = model.sample(2), model.encode(some_images())
    model.close()
    model.close()
    assert model.closed
    assert repr(model).endswith("2 levels, fp32 closed)")
    again = rf"^this model is closed; open it again with glow_deploy\.load\('{re.escape(str(bundles['plain']))}'\)$"
    for call in (
        model.sample,
        model.__enter__,
        lambda: model.encode(pictures),
        lambda: model.decode(latents),
        lambda: model.score(pictures),
        lambda: model.reconstruct(pictures),
        lambda: model.interpolate(pictures[0], pictures[1]),
        lambda: model.interpolate(some_images()[0], some_images()[1]),
    ):
        with pytest.raises(EngineError, match=again):
            call()


def test_a_block_that_ends_in_an_error_closes_too(bundles):
    with pytest.raises(RuntimeError, match="ours"), glow_deploy.load(bundles["plain"]) as model:
        raise RuntimeError("ours")
    assert model.closed


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: model.sample(-1), "n must be a whole number of at least 1, not -1"),
        (lambda model: model.sample("3"), "n must be a whole number of at least 1, not '3'"),
        (lambda model: model.sample(1.5), "n must be a whole number of at least 1, not 1.5"),
        (lambda model: model.sample(2, temperature="0.7"), "temperature must be a number from 0 to 100, not '0.7'"),
        (lambda model: model.sample(2, temperature=None), "temperature must be a number from 0 to 100, not None"),
        (lambda model: model.sample(2, temperature=True), "temperature must be a number from 0 to 100, not True"),
        (lambda model: model.sample(2, temperature=[]), "temperature is empty; give at least one number"),
        (lambda model: model.sample(2, temperature=["a", 1]), "each of temperature must be a number from 0 to 100"),
        (lambda model: model.sample(2, seed=None), "seed must be a whole number from 0 to 2^64-1, not None"),
        (lambda model: model.sample(2, seed=1.5), "seed must be a whole number from 0 to 2^64-1, not 1.5"),
        (lambda model: model.sample(2, batch=0), "batch must be a whole number of at least 1, not 0"),
        (lambda model: model.encode(some_images(), draws=-1), "draws must be a whole number of at least 0, not -1"),
        (lambda model: model.encode(some_images(), seed=1.5), "seed must be a whole number from 0 to 2^64-1, not 1.5"),
        (lambda model: model.encode(some_images(), resize="no"), "resize must be True or False, not 'no'"),
        (lambda model: model.score(some_images(), draws=0), "draws must be a whole number of at least 1, not 0"),
        (lambda model: model.score(some_images(), batch="8"), "batch must be a whole number of at least 1, not '8'"),
        (lambda model: model.decode(model.sample(2), batch=1.0), "batch must be a whole number of at least 1, not 1.0"),
        (lambda model: model.interpolate(*some_images(2), steps=2.5), "steps must be a whole number from 2 to 1000"),
        (
            lambda model: model.interpolate(*model.sample(2), steps=1),
            "steps must be a whole number from 2 to 1000, not 1",
        ),
        (
            lambda model: model.interpolate(*model.sample(2), mode="sperical"),
            "mode is 'sperical'; choose from linear, s",
        ),
        (lambda model: model.interpolate(*model.sample(2), mode=None), "mode is None; choose from linear, spherical"),
    ],
)
def test_arguments_that_cannot_be_are_told_by_their_names(model, call, said):
    with pytest.raises(UsageError) as caught:
        call(model)
    assert str(caught.value).startswith(said)


def test_numpys_numbers_are_as_good_as_pythons(model):
    wanted = model.sample(3, temperature=0.5, seed=4, batch=2)
    for number in (np.float32(0.5), np.float64(0.5), np.float16(0.5), np.array(0.5)):
        found = model.sample(np.int64(3), temperature=number, seed=np.uint64(4), batch=np.array(2))
        assert np.array_equal(found.x, wanted.x)
    several = model.sample(3, temperature=np.array([0.5, 0.5], np.float32), seed=4)
    assert np.array_equal(several.z[0], wanted.z[0])
    way = model.interpolate(*some_images(2), steps=np.int32(3))
    assert len(way) == len(model.interpolate(*model.sample(2), steps=np.array(3))) == 3
    scores = model.score(some_images(), draws=np.int8(2), seed=np.int64(1), batch=np.int64(2))
    assert np.array_equal(scores.log_prob, model.score(some_images(), draws=2, seed=1).log_prob)


def test_latents_and_scores_show_themselves_in_a_notebook(bundles, model):
    named = model.encode(some_images(), draws=1)
    page = replace(named, names=("<b>", "b", "c"))._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 4
    assert f"<td>{named.bits_per_dim[0]:.6g}</td>" in page
    assert "class" not in page
    page = model.score(some_images(30), draws=1)._repr_html_()
    assert "mean z2" in page
    assert page.endswith("<p>... and 10 more</p>")
    with glow_deploy.load(bundles["classes"]) as other:
        assert "<th>class</th>" in other.encode(some_images(), labels=1)._repr_html_()


def test_a_notebook_session_without_torch(bundles, tmp_path):
    """Files and PIL images in, pictures that show themselves out; torch is never imported."""
    Image.fromarray(some_images(1)[0]).save(tmp_path / "a.png")
    code = f"""
import sys
sys.modules["torch"] = None
import glow_deploy
from PIL import Image
with glow_deploy.load({str(bundles["plain"])!r}, backend="onnxruntime-cpu", threads=1) as model:
    latents = model.encode([{str(tmp_path / "a.png")!r}, Image.open({str(tmp_path / "a.png")!r})])
    assert (latents.z[0][0] == latents.z[0][1]).all()
    pictures = model.decode(latents)
    assert pictures.images[0].size == (8, 8)
    assert pictures._repr_html_().startswith('<img alt="2 pictures" src="data:image/png;base64,')
    pictures.save({str(tmp_path / "grid.png")!r})
    print(model, pictures, latents, model.score({str(tmp_path / "a.png")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) < 600
    assert (tmp_path / "grid.png").is_file()


@pytest.fixture
def signed(bundles, signing_keys, tmp_path):
    shutil.copytree(bundles["plain"], tmp_path / "signed")
    glow_deploy.sign(tmp_path / "signed", key=signing_keys / "private.pem")
    return tmp_path / "signed"


def test_a_signed_bundle_loads_with_its_key_and_with_no_other(signed, bundles, signing_keys):
    with (
        glow_deploy.load(signed, public_key=signing_keys / "public.pem") as model,
        glow_deploy.load(bundles["plain"]) as plain,
    ):
        assert np.array_equal(model.sample(2).x, plain.sample(2).x)
        assert len(model.bundle.golden()) == 4
    with pytest.raises(SignatureError, match="not by key"):
        glow_deploy.load(signed, public_key=signing_keys / "other-public.pem")
    with pytest.raises(SignatureError, match="is not signed"):
        glow_deploy.load(bundles["plain"], public_key=signing_keys / "public.pem")


@pytest.mark.parametrize(
    "names", [["manifest.json"], ["encoder.onnx"], ["encoder.onnx", "decoder.onnx", "manifest.json"]]
)
def test_files_exchanged_right_after_the_check_are_not_loaded(signed, signing_keys, perturbed_glow, monkeypatch, names):
    """A whole bundle in order, with the same shapes, in place of the one whose signature was just checked."""
    from glow_core import GlowConfig, save_checkpoint

    loading = importlib.import_module("glow_deploy.model.load")  # the package holds a function of that name
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
    save_checkpoint(perturbed_glow(config, seed=9), signed.parent / "other.pt")
    other = glow_deploy.export(signed.parent / "other.pt", out=signed.parent / "other", golden=4).path
    check = loading.check_signature

    def check_and_exchange(*given):
        found = check(*given)
        for name in names:
            shutil.copy(other / name, signed / name)
        return found

    monkeypatch.setattr(loading, "check_signature", check_and_exchange)
    with pytest.raises(SignatureError, match="not the file that was signed"):
        glow_deploy.load(signed, public_key=signing_keys / "public.pem")
    if len(names) == 3:
        glow_deploy.load(signed).close()  # in order by its own digests
