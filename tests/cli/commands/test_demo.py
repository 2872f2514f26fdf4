import json
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.images import read_picture


@pytest.mark.slow
def test_the_whole_way(invoke, place, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = invoke("demo", "--quick", "--out", "here", "--json", "demo.json")
    assert result.exit_code == 0, result.output
    found = json.loads((place / "demo.json").read_text())
    assert found["sound"] is True
    assert found["exact"] == found["reconstructed"] == 12
    assert found["nonfinite_draws"] == 0
    assert json.loads((place / "here" / "verify.json").read_text())["sound"] is True
    names = {str(path.relative_to(place / "here")) for path in (place / "here").rglob("*")}
    assert {"ckpt.pt", "bundle/encoder.onnx", "bundle/decoder.onnx", "bundle/golden.npz"} <= names
    assert len(found["plans"]) == 2 or "left out" in result.output
    # Originals, reconstructions, differences: the first two rows are equal and the last is black.
    rows = read_picture(place / "here" / "reconstructions.png")
    height = (rows.shape[1] - 2) // 3
    assert (rows[:, 2:height] == rows[:, 2 + height : 2 * height]).all()
    assert rows[:, 2:height].std() > 10
    assert set(rows[0, 2 * height + 2 : 3 * height].ravel()) == {0, 255}  # black pictures, white gaps
    assert read_picture(place / "here" / "samples.png").shape[0] == 3

    # The commands it prints do the same alone, and nothing is replaced by accident.
    assert invoke("demo", "--quick", "--out", "here").exit_code == 2
    assert invoke("sample", "--engine", "here/bundle/decoder.onnx", "-n", 4).exit_code == 0
    assert invoke("verify", "here/bundle", "--data", "faces", "--limit", 16, "--quiet").exit_code == 0


def test_an_earlier_demo_is_not_overwritten(invoke, place):
    (place / "here").mkdir()
    (place / "here" / "ckpt.pt").write_bytes(b"precious")
    result = invoke("demo", "--quick", "--out", "here")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (place / "here" / "ckpt.pt").read_bytes() == b"precious"


def test_an_unsound_bundle_ends_the_demo_with_1(invoke, place, monkeypatch):
    monkeypatch.setattr("glow_cli.commands.demo.run_demo", lambda out, **options: {"sound": False})
    result = invoke("demo", "--out", "here")
    assert result.exit_code == 1
    assert "unsound" in result.stderr


@pytest.mark.slow
def test_the_demos_model_draws_finite_samples_and_brings_every_golden_image_back(tmp_path):
    """The demo's own model after a minute of its training, in float32 in ONNX Runtime."""
    from glow_core.training import demo_config, demo_settings, train
    from glow_deploy.data import load_images
    from glow_deploy.engines import open_engine
    from glow_deploy.export import export
    from glow_deploy.images import x_to_pixels
    from glow_deploy.latents import SampleSettings, decode_latents, sample

    config = demo_config()
    result = train(
        config,
        train_images=load_images("faces", split="train"),
        validation_images=load_images("faces", split="validation"),
        out=tmp_path / "run",
        settings=replace(demo_settings(), max_seconds=60.0, validate_every=None, sample_every=None),
    )
    assert result.validation_bits_per_dim < 4  # it has learnt: a uniform guess costs 5
    bundle = export(result.checkpoint, out=tmp_path / "bundle")
    golden = bundle.golden()
    assert bundle.manifest.golden_source == "checkpoint"
    pixels = x_to_pixels(golden.x, config.n_bits)
    with open_engine(bundle.file("encoder.onnx")) as encoder, open_engine(bundle.file("decoder.onnx")) as decoder:
        encoded = encoder.run({"x": golden.x})
        z = [encoded["z1"], encoded["z2"]]
        assert np.array_equal(x_to_pixels(decode_latents(decoder, z).x, config.n_bits), pixels)
        # Negative control: latents 5 % off do not come back.
        shifted = decode_latents(decoder, [z[0], z[1] * np.float32(1.05)]).x
        assert not np.array_equal(x_to_pixels(shifted, config.n_bits), pixels)

        drawn = nonfinite = 0
        for batch in sample(decoder, count=10_000, settings=SampleSettings(temperature=1.0, batch=250)):
            drawn += len(batch)
            nonfinite += batch.nonfinite
            assert np.isfinite(batch.x).all()
            assert batch.x.dtype == np.float32
    assert (drawn, nonfinite) == (10_000, 0)
