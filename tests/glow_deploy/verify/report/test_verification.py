from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest

from glow_deploy.errors import BundleError, UsageError
from glow_deploy.verify import VerifySettings, report_tables, verify


def printed(report, *, width=80, **options):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    console.print(report_tables(report, **options))
    return console.file.getvalue()


def test_the_json_report_holds_every_figure_with_its_circumstances(report, sound):
    table = json.loads(report.to_json())
    assert (table["schema"], table["schema_version"]) == ("glow_deploy.verify", 1)
    assert table["sound"] is True
    assert table["verdicts"] == {"round_trip": "sound", "likelihood": "sound", "samples": "sound", "weights": "sound"}
    assert [check["found"] for check in table["weights"]["checks"]] == ["pass"] * 4
    assert len(table["cells"]) == sum(backend["used"] for backend in table["backends"]) ** 2
    for cell in table["cells"]:
        assert {"n", "non_finite", "max", "p999", "rms", "worst", "unit"} <= set(cell["x_z_x"])
        assert cell["x_z_x"]["pixel_steps"]["rms"] == pytest.approx(cell["x_z_x"]["rms"] * 256)
        assert cell["exact"]["image_failure_bound"] == pytest.approx(1 - 0.05 ** (1 / 32))
        assert set(cell["z_x_z"]) == {"z1", "z2"}
        assert all(gate["derivation"] and gate["limit"] is not None for gate in cell["gates"])
        assert cell["verdict"] == "pass"
    used = next(backend for backend in table["backends"] if backend["name"] == "onnxruntime-cpu")
    assert used["decoder"]["provider"] == "CPUExecutionProvider"
    assert used["decoder"]["tf32"] is False
    assert used["decoder"]["versions"]
    assert table["environment"]["versions"]["numpy"]
    assert table["bundle"]["files"].keys() >= {"encoder.onnx", "decoder.onnx", "golden.npz"}
    words = ["glow-deploy", "verify", str(sound.bundle), "--ckpt", str(sound.ckpt), "--random-draws", "4"]
    assert shlex.split(table["command"]) == words
    assert {row["non_finite_draws"] for row in table["random_latents"]} == {0}


def test_the_command_repeats_every_choice():
    settings = VerifySettings(
        backends=("tensorrt",),
        ckpt=Path("a b.pt"),
        data="d",
        limit=7,
        batch=3,
        device="cuda:1",
        trust_engine=True,
        seed=5,
    )
    words = shlex.split(settings.command(Path("my bundle")))
    assert words[:3] == ["glow-deploy", "verify", "my bundle"]
    for option, value in {
        "--backend": "tensorrt", "--ckpt": "a b.pt", "--data": "d", "--limit": "7", "--batch": "3",
        "--device": "cuda:1", "--seed": "5",
    }.items():  # fmt: skip
        assert words[words.index(option) + 1] == value
    assert "--trust-engine" in words
    assert "--resize" not in words


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_tables_fit(report, width):
    text = printed(report, width=width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("onnxruntime-cpu", "tensorrt-rtx", "absent", "32/32", "yardstick", "round trip: sound"):
        assert word in text
    assert "FAIL" not in text


def test_a_failure_names_cell_level_and_cause(sound, quick, tamper):
    import numpy as np

    tamper("decoder", before=lambda feeds: {**feeds, "z2": np.zeros_like(feeds["z2"])})
    bad = quick(sound.bundle)
    text = printed(bad, width=400, verbose=True)
    assert "FAIL encode onnxruntime-cpu -> decode onnxruntime-cpu, 32 golden images, level 2" in text
    assert "z2 is dropped" in text
    assert "round trip: unsound" in text
    table = json.loads(bad.to_json())
    assert table["sound"] is False
    assert {failure["level"] for failure in table["failures"]} == {2}
    assert table["cells"][0]["verdict"] == "fail"


def test_a_report_without_cells_is_not_sound(report):
    from dataclasses import replace

    assert not replace(report, cells=()).sound


def test_a_cell_without_gates_does_not_pass(report):
    from dataclasses import replace

    assert report.cells[0].passed
    assert not replace(report.cells[0], gates=()).passed
    assert not replace(report.references[0], gates=()).passed
    assert not replace(report.batches[0], gates=()).passed


def test_progress_is_told(sound):
    calls = []
    verify(
        sound.bundle,
        settings=VerifySettings(backends=("onnxruntime-cpu",), batch=10),
        progress=lambda *call: calls.append(call),
    )
    assert ("32 golden images", 32, 32) in calls
    assert {stage for stage, _, _ in calls} == {"32 golden images", "batch sizes", "random latents"}


def test_no_images_and_no_checkpoint_is_an_error(exported, quick, npz):
    bare = exported(golden=None, seed=30)
    with pytest.raises(UsageError, match="data="):
        quick(bare.bundle)
    with pytest.raises(UsageError, match="ckpt="):
        quick(bare.bundle, data=npz(bare, 5))
    assert quick(bare.bundle, data=npz(bare, 5), ckpt=bare.ckpt).sound


def test_a_missing_yardstick_is_an_error(sound, quick, tmp_path):
    import shutil

    shutil.copytree(sound.bundle, tmp_path / "b")
    path = tmp_path / "b" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["numerics"]["yardstick"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="yardstick"):
        quick(tmp_path / "b")
