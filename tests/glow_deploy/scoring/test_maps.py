from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.data import open_images
from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError
from glow_deploy.scoring.maps import check_threshold, learn_threshold, map_source
from glow_deploy.scoring.sources import set_source


def test_sets_are_mapped_batch_by_batch(tmp_path):
    encoder, _ = example_pair(size=(16, 16), channels=3)
    faces = open_images("faces")
    normal = set_source(faces.take("validation", limit=40), name="normal")
    known = learn_threshold(encoder, normal, patch=4, rate=0.1, model_id="a" * 64, batch=16)
    assert (known.normal, known.calibration) == (20, 20)
    values = faces.take("test", limit=6).batch(range(6))
    values[2, :, 4:8, 8:12] = np.random.default_rng(0).integers(0, 2, (3, 4, 4)) * 255
    np.savez(tmp_path / "some.npz", images=values.transpose(0, 2, 3, 1))
    source = set_source(open_images(str(tmp_path / "some.npz")).take("test"), name="some")
    counted = []
    found = list(map_source(encoder, source, known, batch=4, progress=lambda *now: counted.append(now)))
    assert [len(batch.values) for batch, _, _ in found] == [4, 2]
    assert counted == [(4, 6), (6, 6)]
    strange = np.concatenate([verdicts for _, _, verdicts in found])
    assert strange[2]
    place = np.unravel_index(found[0][1].both[2].argmax(), (16, 16))
    assert 4 <= place[0] < 8
    assert 8 <= place[1] < 12
    check_threshold(known, model_id="a" * 64, source="t.json")
    check_threshold(known, model_id=None, source="t.json")
    with pytest.raises(DataError, match="learn it again"):
        check_threshold(known, model_id="b" * 64, source="t.json")
