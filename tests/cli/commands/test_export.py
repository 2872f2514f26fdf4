from __future__ import annotations

import numpy as np


def test_export_needs_no_more_than_the_checkpoint(invoke, model, place):
    result = invoke("export", model.checkpoint)
    assert result.exit_code == 0, result.output
    folder = place / "ckpt-bundle"
    assert sorted(path.name for path in folder.iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
        "golden.npz",
        "manifest.json",
    ]
    again = invoke("export", model.checkpoint)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert invoke("export", model.checkpoint, "--force", "--golden", "none").exit_code == 0
    assert not (folder / "golden.npz").exists()


def test_export_resizes_if_asked_to_and_doubts_an_untrained_model(invoke, model, place):
    np.savez(place / "big.npz", images=np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8))
    refused = invoke("export", model.checkpoint, "--data", "big.npz")
    assert refused.exit_code == 2
    assert "--resize" in refused.stderr
    accepted = invoke("export", model.checkpoint, "--data", "big.npz", "--resize", "--golden", 1)
    assert accepted.exit_code == 0, accepted.output
    assert "at batch 1, 2, 3" in accepted.output
    assert "note:" not in accepted.output

    from glow_core import Glow, GlowConfig, save_checkpoint

    save_checkpoint(Glow(GlowConfig(image_size=(8, 8), levels=2, steps=1, width=4)), place / "fresh.pt")
    assert "note: actnorm was never initialised" in invoke("export", "fresh.pt").output


def test_the_help_names_every_project_that_is_read():
    from glow_cli.commands.export import export

    from glow_core.readers import READERS

    words = " ".join((export.__doc__ or "").split())
    assert [reader.project for reader in READERS if reader.project not in words] == []
