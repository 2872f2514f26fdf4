"""Facts about the conditioner and its last convolution that the whole model cannot show."""

import pytest
import torch

from glow_core import GlowConfig
from glow_core.flows.conditioner import Conditioner, ZeroConv2d


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


SIZES = [(1, 1), (1, 2), (2, 1), (1, 6), (2, 2), (2, 5), (3, 3), (5, 6)]


def _with_border_channel(x):
    """[N,C,H,W] padded by 1 with zeros, and one more channel that is 1 there and 0 inside."""
    ring = torch.nn.functional.pad(torch.zeros_like(x[:, :1]), (1, 1, 1, 1), value=1.0)
    return torch.cat((torch.nn.functional.pad(x, (1, 1, 1, 1)), ring), dim=1)


def _normal(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [(7, 4), (4, 7)])
@pytest.mark.parametrize("size", SIZES)
def test_zero_conv_with_an_edge_sees_the_border_as_a_channel(size, channels, dtype):
    torch.manual_seed(0)
    conv = _normal(ZeroConv2d(*channels, edge_bias=True)).to(dtype)
    x = torch.randn(3, channels[0], *size, dtype=dtype)
    weight = torch.cat((conv.weight, conv.edge[:, None]), dim=1)
    expected = torch.nn.functional.conv2d(_with_border_channel(x), weight, conv.bias)
    expected = expected * torch.exp(3 * conv.log_scale)[None, :, None, None]
    assert torch.allclose(conv(x), expected, atol=1e-10 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_conditioner_with_edges_is_the_one_of_the_original_code(size):
    """The first convolution gets the channel before its actnorm, the 1x1 none, the last before its scale."""
    torch.manual_seed(0)
    net = _normal(Conditioner(3, 4, width=5, edge_bias=True)).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    conv2d = torch.nn.functional.conv2d
    hidden = conv2d(_with_border_channel(x), torch.cat((net.conv1.weight, net.edge1[:, None]), dim=1))
    hidden = conv2d(torch.relu(net.norm1(hidden)), net.conv2.weight)
    weight = torch.cat((net.conv3.weight, net.conv3.edge[:, None]), dim=1)
    last = conv2d(_with_border_channel(torch.relu(net.norm2(hidden))), weight, net.conv3.bias)
    assert torch.allclose(net(x), last * torch.exp(3 * net.conv3.log_scale)[None, :, None, None], atol=1e-10)


def test_float32_edges_serve_a_float64_input():
    """A float64 reference keeps the conditioners' weights in float32 and widens them where they are used."""
    torch.manual_seed(0)
    net = _normal(Conditioner(3, 4, width=5, edge_bias=True))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    double = Conditioner(3, 4, width=5, edge_bias=True).eval().double()
    double.load_state_dict(state)
    mixed = Conditioner(3, 4, width=5, edge_bias=True).eval().double()
    single = {name: value for name, value in state.items() if "edge" in name}
    mixed.load_state_dict({**double.state_dict(), **single}, assign=True)
    assert mixed.edge1.dtype == torch.float32
    assert torch.equal(mixed(x), double(x))


def test_gradients_that_have_gradients_are_the_usual_ones_where_weights_are_met_twice(perturbed_glow):
    """An input that came from the same weights: what led to it must not be gone back through twice."""
    torch.manual_seed(0)
    net = _normal(Conditioner(3, 3, width=8)).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    glow = perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8), strength=0.1).double()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)

    def there_and_back():
        return glow.decode([1.1 * latent for latent in glow.encode(images)[0]])

    for result, wanted in ((lambda: net(net(x)), [x, *net.parameters()]), (there_and_back, list(glow.parameters()))):
        plain, graphed = (
            torch.autograd.grad(result().square().sum(), wanted, materialize_grads=True, allow_unused=True, **told)
            for told in ({}, {"create_graph": True})
        )
        assert any(bool(gradient.any()) for gradient in plain)
        for ours, theirs in zip(graphed, plain, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11 * float(theirs.abs().max().clamp(min=1.0)))
