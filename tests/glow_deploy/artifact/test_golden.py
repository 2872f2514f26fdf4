from __future__ import annotations

import json

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import BundleError


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.update(x=g["x"].astype(np.float64)),
        lambda g: g.update(z1=g["z1"][:, :2]),
        lambda g: g.update(log_prob=g["log_prob"][:2]),
        lambda g: g.pop("x_hat"),
        lambda g: g["x_hat"].fill(np.nan),
        lambda g: g.update(x=np.array([{}], dtype=object)),
    ],
)
def test_golden_vectors_that_do_not_fit_are_refused(bundle, change):
    from glow_deploy.artifact.files import sha256_file

    with np.load(bundle / "golden.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(bundle / "golden.npz", **arrays)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = sha256_file(bundle / "golden.npz")
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"golden\.npz"):
        Bundle.open(bundle).golden()
