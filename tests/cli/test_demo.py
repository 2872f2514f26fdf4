import json

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
    monkeypatch.setattr("glow_cli.demo.run_demo", lambda out, **options: {"sound": False})
    result = invoke("demo", "--out", "here")
    assert result.exit_code == 1
    assert "unsound" in result.stderr
