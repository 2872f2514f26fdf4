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


def test_what_exact_graphs_cost_says_what_the_images_were_used_for():
    from glow_cli.commands.export import _exact

    from glow_deploy.artifact.exact_figures import ExactFigures, ExactProof

    proof = ExactProof(
        limit=2**19,
        largest_sum=2**23,
        where_sum="a",
        largest_value=2**22,
        where_value="b",
        largest_operand=2047,
        normal_limit=2**19,
    )
    found = ExactFigures(
        proof=proof,
        bits=8,
        fraction_bits=8,
        spacings=(0.1,),
        images=128,
        largest=9_000,
        bits_per_dim_change=0.001,
        change_band=0.0002,
        change_images=127,
        outside=3,
    )
    told = list(_exact(found, automatic=True))
    assert told[0].endswith("127 images that it was not made from (95 % within 0.0002; the bits were chosen on them)")
    assert told[1].startswith("out of range: 3 of them")
    assert "chosen" not in next(_exact(found, automatic=False))
