"""The order of the squeezed channels."""

import torch

from glow_core.flows import Squeeze


def test_squeeze_has_the_order_of_pixel_unshuffle():
    x = torch.arange(2 * 4 * 6, dtype=torch.float64).reshape(1, 2, 4, 6)
    y, _ = Squeeze().encode(x)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                assert torch.equal(y[0, 4 * c + 2 * i + j], x[0, c, i::2, j::2])
