from __future__ import annotations

import numpy as np
import pytest
from made_scores import REFERENCE, scored

from glow_deploy.errors import DataError, UsageError


def test_a_histogram_of_two_sets(tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    from glow_deploy.scoring.picture import histogram_bytes, write_histogram

    rng = np.random.default_rng(0)
    sets = [scored("clothes", rng.normal(3, 0.3, 500)), scored("digits", [*rng.normal(1.5, 0.2, 300), np.nan, 90.0])]
    write_histogram(tmp_path / "a.png", sets, reference=REFERENCE, title="what it shows")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
        colours = {colour[:3] for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert len(colours) > 20
    svg = histogram_bytes(sets, reference=REFERENCE, kind="svg")
    assert svg == histogram_bytes(sets, reference=REFERENCE, kind="svg"), "the same scores give the same bytes"
    assert histogram_bytes(sets) == histogram_bytes(sets)
    assert histogram_bytes(sets) != histogram_bytes(sets[:1])


def test_the_areas_of_all_sets_are_1(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    from glow_deploy.scoring.picture import histogram_bytes

    assert matplotlib
    drawn = []
    whole = Axes.hist

    def watch(self, values, **options):
        result = whole(self, values, **options)
        drawn.append(float((result[0] * np.diff(result[1])).sum()))
        return result

    monkeypatch.setattr(Axes, "hist", watch)
    rng = np.random.default_rng(0)
    histogram_bytes([scored("a", rng.normal(3, 1, 1000)), scored("b", [*rng.normal(1, 1, 50), 500.0])])
    np.testing.assert_allclose(drawn, 1.0)


def test_what_cannot_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from glow_deploy.scoring.picture import histogram_bytes, write_histogram

    with pytest.raises(DataError, match="nothing to draw"):
        histogram_bytes([scored("a", [np.nan])])
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        write_histogram(tmp_path / "a.jpg", [scored("a", [1.0])])
    assert histogram_bytes([scored("a", [1.0, 1.0]), scored("b", [np.nan])])[:4] == b"\x89PNG"
    assert list(tmp_path.iterdir()) == []
