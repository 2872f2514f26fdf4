"""The parts without a server: pictures, the store, commands, the port."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.errors import DataError, MissingDependencyError, UsageError
from glow_deploy.explore.changes import Change, changed_latents
from glow_deploy.explore.commands import Source, equivalent_command
from glow_deploy.explore.pictures import difference_picture, latent_picture, picture_uri
from glow_deploy.explore.serve import bind, page_hosts, page_url
from glow_deploy.explore.settings import ExploreSettings
from glow_deploy.explore.store import Store


def rgba(uri):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def test_latents_are_coloured_around_zero():
    z = np.array([-9.0, -3.0, 0.0, 3.0, 9.0, 1.0]).reshape(6, 1, 1)
    for theme in ("light", "dark"):
        uri, width, height = latent_picture(z, theme=theme)
        pixels = rgba(uri)
        assert pixels.shape == (height, width, 4)
        tiles = [pixels[10, 10 + 67 * channel].tolist() for channel in range(6)]
        assert tiles[0] == tiles[1] != tiles[2] != tiles[3] == tiles[4]
        assert tiles[0][2] > tiles[0][0]  # blue below zero
        assert tiles[3][0] > tiles[3][2]  # orange above
        assert max(tiles[2][:3]) - min(tiles[2][:3]) < 20  # grey at zero
        assert pixels[10, 65, 3] == 0  # the gaps show the page
    assert rgba(latent_picture(z, theme="light")[0])[10, 140, 0] > 200 > 60 > rgba(uri)[10, 140, 0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 8, 8), (24, 4, 4), (192, 2, 2), (12, 128, 128), (3, 200, 10)])
def test_every_channel_has_a_tile(shape):
    uri, width, _ = latent_picture(np.random.default_rng(0).normal(size=shape), theme="light")
    pixels = rgba(uri)
    scale = max(1, round(64 / max(shape[1:])))
    assert (pixels[..., 3] == 255).sum() == shape[0] * shape[1] * shape[2] * scale**2
    assert width <= max(720, shape[2] * scale)


def test_differences_are_enlarged_to_a_round_scale():
    x = np.full((3, 4, 4), 0.5, np.float32)
    x_hat = x.astype(np.float64)
    x_hat[0, 0, 0] += 3e-5 / 32
    found = difference_picture(x_hat, x, n_bits=5)
    assert found.full_scale == pytest.approx(5e-5)
    assert rgba(found.uri)[0, 0, :3].tolist() == [128 + 76, 128, 128]
    assert rgba(found.uri)[1, 1, :3].tolist() == [128] * 3
    assert difference_picture(x, x, n_bits=5).full_scale is None


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_magenta(lost):
    x = np.full((1, 4, 4), 0.5, np.float32)
    x_hat = x.copy()
    x_hat[0, 1, 2] = lost
    pixels = rgba(difference_picture(x_hat, x, n_bits=8).uri)
    assert pixels[1, 2].tolist() == [255, 0, 255, 255]
    assert (pixels[..., 1] == 128).sum() == 15
    assert rgba(picture_uri(np.zeros((1, 2, 2), np.uint8), np.ones((1, 2, 2), bool)))[0, 0].tolist() == [
        255,
        0,
        255,
        255,
    ]


def test_the_store_keeps_to_its_bytes_but_always_the_newest():
    store = Store[int](items=10, size=100)
    tokens = [store.put(index, size=40) for index in range(4)]
    assert [store.get(token) for token in tokens] == [None, None, 2, 3]
    large = store.put(9, size=1000)
    assert (len(store), store.get(large)) == (1, 9)
    assert [store.get(token) for token in tokens] == [None] * 4
    store.put(1, size=1)
    assert store.get(large) is None
    assert len({*tokens, large}) == 5


def test_a_change_of_nothing_leaves_the_latents_to_the_last_bit():
    z = [np.random.default_rng(0).normal(size=(2, 2, 2)).astype(np.float32) for _ in range(2)]
    for old, new in zip(z, changed_latents(z, Change(), other=None, directions=None), strict=True):
        assert np.array_equal(old, new)
        assert new.dtype == np.float32
    with pytest.raises(UsageError, match="directions="):
        changed_latents(z, Change(attributes={"hat": 1.0}), other=None, directions=None)
    with pytest.raises(DataError, match="not of one model"):
        changed_latents(z, Change(share=0.5), other=z[:1], directions=None)


def source(file="a b.png", label=None, fitted=False):
    return Source(name=file, file=file, fitted=fitted, label=label)


@pytest.mark.parametrize(
    ("change", "settings", "image", "other", "wanted"),
    [
        (Change(), {}, source(), None, "encode --engine b/encoder.onnx 'a b.png' --out latents.npz"),
        (
            Change(),
            {"flavor": "rtx", "device": "cuda:1", "trust_engine": True},
            source(fitted=True),
            None,
            "encode --engine b/encoder.rtx.trt 'a b.png' --out latents.npz --resize --device cuda:1 --trust-engine",
        ),
        (Change(temperature=0.5), {}, source(), None, "decode --engine b/decoder.onnx latents.npz"),
        (
            Change(temperatures=(1.0, 0.9)),
            {"flavor": "tensorrt"},
            source(),
            None,
            "decode --engine b/decoder.trt latents.npz",
        ),
        (Change(share=0.5), {}, source(), source("c.png"), "interpolate b 'a b.png' c.png"),
        (
            Change(share=0.5, mode="spherical"),
            {"flavor": "rtx"},
            source(label=1),
            source("c.png", label=2, fitted=True),
            "interpolate b 'a b.png' c.png --mode spherical --class 1,2 --resize --flavor rtx",
        ),
        (Change(label=2), {}, source(label=1), None, "decode --engine b/decoder.onnx latents.npz"),
        (
            Change(label=1),
            {},
            source(label=1),
            None,
            "encode --engine b/encoder.onnx 'a b.png' --out latents.npz --class 1",
        ),
    ],
)
def test_commands(change, settings, image, other, wanted):
    found = equivalent_command(Path("b"), ExploreSettings(**settings), change, image=image, other=other)
    assert found == f"glow-deploy {wanted}"


def test_a_port_is_ours_or_the_reason_is_told():
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert page_url(listening) == f"http://127.0.0.1:{port}/"
        assert page_hosts("127.0.0.1", listening) == ()
        with pytest.raises(UsageError, match="port=0"):
            bind("127.0.0.1", port)
    with pytest.raises(UsageError, match="not known"):
        bind("no.such.name.invalid", 0)
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)  # of documentation: no machine has it


def test_a_port_open_to_others_answers_under_addresses():
    with bind("0.0.0.0", 0) as listening:
        assert page_url(listening).startswith("http://127.0.0.1:")
        assert page_hosts("0.0.0.0", listening)[0] == "*"


@pytest.mark.parametrize("values", [{"draws": 0}, {"max_upload": 0}, {"kept_images": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(UsageError):
        ExploreSettings(**values)


def test_without_the_packages_the_extra_is_named(bundle, monkeypatch):
    from glow_deploy.explore import create_app
    from glow_deploy.explore.serve import need_uvicorn

    for name in ("uvicorn", "starlette", "starlette.applications"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: create_app(bundle), need_uvicorn):
        with pytest.raises(MissingDependencyError, match=r"glow-deploy\[explore\]"):
            call()


def test_directions_of_another_model_are_refused(grey_bundle, directions_file):
    from glow_deploy.explore import create_app

    with pytest.raises(DataError, match="was made for the model"):
        create_app(grey_bundle, settings=ExploreSettings(directions=directions_file))
