"""Facts about the channel permutations that the whole model cannot show."""

import torch

from glow_core.flows import FixedPermutation, InvertibleConv1x1LU


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


def test_the_inverse_of_a_float32_lu_is_taken_in_float64():
    torch.manual_seed(0)
    layer = InvertibleConv1x1LU(8)
    layer.log_abs_s.data += 0.5 * torch.randn(8)
    p, lower, upper = (factor.detach().double() for factor in layer.factors())
    inverse = layer.inverse().detach()
    assert inverse.dtype == torch.float64
    assert torch.allclose(inverse @ (p @ lower @ upper), torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-12)
