"""What the border adds is what padding with ones gives."""

import torch

from glow_core.flows.edge import edge_map


def test_padding_with_ones_is_the_edge_of_summed_weights():
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    x = torch.randn(2, 3, 5, 2, dtype=torch.float64)
    ones = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (1, 1, 1, 1), value=1.0), weight)
    zeros = torch.nn.functional.conv2d(x, weight, padding=1)
    assert torch.allclose(zeros + edge_map(weight.sum(dim=1), 5, 2), ones, atol=1e-12)
    assert not torch.allclose(zeros + edge_map(weight.sum(dim=1).flip(1), 5, 2), ones, atol=1e-3)
