from __future__ import annotations

import pytest

from glow_deploy.errors import BundleError


def test_images_beside_their_bin_centres_are_refused():
    import numpy as np

    from glow_deploy.verify.matrix.images import check_bin_centres

    x = (np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16) + np.float32(0.5)) / 256
    check_bin_centres(x, n_bits=8, where="golden.npz")
    for bad in (x + np.float32(1e-5), x + 1, x * 0.5, np.full_like(x, np.nan)):
        with pytest.raises(BundleError, match=r"golden\.npz"):
            check_bin_centres(bad, n_bits=8, where="golden.npz")
