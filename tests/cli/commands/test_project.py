from __future__ import annotations

import json

from glow_deploy.images import read_picture


def test_project_writes_the_picture_and_a_comparison(invoke, model, place, pictures):
    result = invoke(
        *("project", model.checkpoint, pictures[0], "--noise", 0.1, "--truth", pictures[1]),
        *("--compare", "compare.png", "--json", "found.json"),
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in place.iterdir()) == ["compare.png", "found.json", "projected.png"]
    assert read_picture(place / "projected.png").shape == (3, 8, 8)
    assert read_picture(place / "compare.png").shape == (3, 88, 3 * 66 + 2)
    found = json.loads((place / "found.json").read_text())
    assert found["bits_per_dim_after"] < found["bits_per_dim_before"]
    assert found["psnr_after"] is not None
    for words in ("bits/dim: ", "distance: ", "against the truth: ", "cost: "):
        assert words in result.output
