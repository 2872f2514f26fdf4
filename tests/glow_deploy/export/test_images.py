from __future__ import annotations

import numpy as np
import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.errors import DataError
from glow_deploy.export import ExportSettings, export

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)


def test_images_of_another_size_need_resize(checkpoint, tmp_path):
    data = str(tmp_path / "large.npz")
    np.savez(data, images=np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="resize=True"):
        export(checkpoint, out=tmp_path / "b", settings=ExportSettings(data=data))
    bundle = export(checkpoint, out=tmp_path / "b", settings=ExportSettings(data=data, resize=True))
    assert bundle.manifest.golden_source == "data"
    assert bundle.golden().x.shape == (3, 3, 8, 8)


@pytest.mark.parametrize("labels", [[0, 1, 3], [0, -1, 2]])
def test_labels_that_are_no_classes_of_the_model_name_the_data(perturbed_glow, tmp_path, labels):
    save_checkpoint(perturbed_glow(GlowConfig.from_dict(CONFIG.to_dict() | {"num_classes": 3})), tmp_path / "c.pt")
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for name, values in (("right", [0, 1, 2]), ("wrong", labels)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.array(values))
    export(tmp_path / "c.pt", out=tmp_path / "a", settings=ExportSettings(data=str(tmp_path / "right.npz")))
    with pytest.raises(DataError, match=r"wrong\.npz: class labels .* 0\.\.2"):
        export(tmp_path / "c.pt", out=tmp_path / "b", settings=ExportSettings(data=str(tmp_path / "wrong.npz")))
    assert not (tmp_path / "b").exists()
