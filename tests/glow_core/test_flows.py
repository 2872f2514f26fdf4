"""Facts about single layers that the whole model cannot show."""

import torch

from glow_core.flows import FixedPermutation, InvertibleConv1x1LU, Squeeze
from glow_core.flows.conditioner import ZeroConv2d


def test_squeeze_has_the_order_of_pixel_unshuffle():
    x = torch.arange(2 * 4 * 6, dtype=torch.float64).reshape(1, 2, 4, 6)
    y, _ = Squeeze().encode(x)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                assert torch.equal(y[0, 4 * c + 2 * i + j], x[0, c, i::2, j::2])


def test_lu_starts_as_a_rotation_and_keeps_its_factors_apart():
    torch.manual_seed(0)
    layer = InvertibleConv1x1LU(8).double()
    matrix = layer.matrix()
    assert torch.allclose(matrix @ matrix.T, torch.eye(8, dtype=torch.float64), atol=1e-6)
    layer.lower.data += 1.0
    layer.upper.data += 1.0
    p, lower, upper = layer.factors()
    assert torch.equal(torch.diagonal(lower), torch.ones(8, dtype=torch.float64))
    assert torch.equal(lower.triu(1), 0 * lower)
    assert torch.equal(upper.tril(-1), 0 * upper)
    log_det = torch.linalg.slogdet(p @ lower @ upper)[1]
    assert abs(float((log_det - layer.log_abs_s.sum()).detach())) < 1e-10


def test_shuffle_is_saved_and_reverse_reverses():
    torch.manual_seed(0)
    shuffle = FixedPermutation(16, kind="shuffle")
    other = FixedPermutation(16, kind="shuffle")
    assert not torch.equal(shuffle.order, other.order)
    other.load_state_dict(shuffle.state_dict())
    x = torch.rand(1, 16, 2, 2)
    assert torch.equal(shuffle.encode(x)[0], other.encode(x)[0])
    assert torch.equal(FixedPermutation(16, kind="reverse").encode(x)[0], x.flip(1))


def test_zero_conv_is_torchs_convolution_in_float64_too():
    torch.manual_seed(0)
    for channels in ((7, 4), (4, 7)):
        conv = ZeroConv2d(*channels).double()
        for parameter in conv.parameters():
            torch.nn.init.normal_(parameter)
        x = torch.randn(3, channels[0], 5, 6, dtype=torch.float64)
        expected = torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
        expected = expected * torch.exp(3 * conv.log_scale)[None, :, None, None]
        assert torch.allclose(conv(x), expected, atol=1e-10)
