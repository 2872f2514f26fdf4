from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from glow_core.flows.convolution import conv1x1, conv3x3, with_edge, zero_edge


def _normal(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [(5, 3), (2, 7)])
def test_both_are_torchs_convolutions_in_either_precision(channels: tuple[int, int], dtype: torch.dtype) -> None:
    inputs, outputs = channels
    x = _normal(3, inputs, 4, 6, dtype=dtype)
    weight1, weight3 = (_normal(outputs, inputs, side, side, dtype=dtype) for side in (1, 3))
    bias = _normal(outputs, dtype=dtype)
    tolerance = {"atol": 1e-12 if dtype == torch.float64 else 1e-5, "rtol": 0}
    for found, expected in (
        (conv1x1(x, weight1), F.conv2d(x, weight1)),
        (conv3x3(x, weight3, bias), F.conv2d(x, weight3, bias, padding=1)),
        (conv3x3(x, weight3), F.conv2d(x, weight3, padding=1)),
    ):
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, **tolerance)


def test_a_float64_input_widens_float32_weights_and_not_the_other_way() -> None:
    x, weight, bias = _normal(2, 3, 4, 4), _normal(2, 3, 3, 3, dtype=torch.float32), _normal(2)
    torch.testing.assert_close(
        conv3x3(x, weight, bias), F.conv2d(x, weight.double(), bias, padding=1), atol=1e-12, rtol=0
    )
    assert conv1x1(x.float(), _normal(2, 3, 1, 1)).dtype == torch.float32


def test_a_one_pixel_image_meets_the_middle_of_the_kernel_alone() -> None:
    x, weight, bias = _normal(2, 3, 1, 1), _normal(2, 3, 3, 3), _normal(2)
    expected = x[:, :, 0, 0] @ weight[:, :, 1, 1].T + bias
    torch.testing.assert_close(conv3x3(x, weight, bias)[:, :, 0, 0], expected)


def test_an_edge_is_added_on_the_border() -> None:
    y = torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    edge = torch.arange(9.0, dtype=torch.float32).reshape(1, 3, 3)
    found = with_edge(y, edge)
    assert found.dtype == torch.float64
    # Every pixel gets the sum over the places of its kernel that lie outside the image.
    sides = [9, 0, 0, 0, 15]
    assert found[0, 0].tolist() == [[12, 3, 3, 3, 16], sides, sides, [24, 21, 21, 21, 28]]
    assert with_edge(y, None) is y


def test_a_new_edge_is_zero_or_not_there() -> None:
    edge = zero_edge(4, wanted=True)
    assert edge is not None
    assert (edge.shape, edge.requires_grad, int(edge.detach().count_nonzero())) == ((4, 3, 3), True, 0)
    assert zero_edge(4, wanted=False) is None
