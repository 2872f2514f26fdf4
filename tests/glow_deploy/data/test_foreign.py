from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.data import foreign_faces
from glow_deploy.verify.matrix.images import check_bin_centres


def test_faces_are_foreign_only_to_models_of_another_size():
    assert foreign_faces((1, 28, 28), n_bits=8, n=2)["faces"].shape == (2, 1, 28, 28)
    assert foreign_faces((3, 32, 32), n_bits=5, n=2)["faces"].shape == (2, 3, 32, 32)
    assert foreign_faces((3, 16, 16), n_bits=5, n=2) == {}
    assert foreign_faces((2, 16, 16), n_bits=5, n=2) == {}


@pytest.mark.parametrize(("shape", "n_bits"), [((1, 28, 28), 8), ((3, 8, 12), 5)])
def test_they_are_valid_inputs(shape, n_bits):
    faces = foreign_faces(shape, n_bits=n_bits, n=3)["faces"]
    assert faces.dtype == np.float32
    assert faces.shape == (3, *shape)
    check_bin_centres(faces, n_bits=n_bits, where="faces")
