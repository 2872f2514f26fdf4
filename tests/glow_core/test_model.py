"""Invertibility and log-determinants of the whole model, in float64, with every option crossed."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from glow_core import Glow, GlowConfig
from glow_core.errors import ConfigError
from glow_core.flows import IndependentPrior, Mixing, TopPrior

OPTIONS = [
    pytest.param(
        {"coupling": coupling, "bounded_scale": bounded, "permutation": permutation, "num_classes": classes},
        id=f"{coupling}{'' if bounded else '-unbounded'}-{permutation}-{classes or 'no'}classes",
    )
    for coupling, bounded, permutation, classes in itertools.product(
        ["affine", "additive"], [True, False], ["lu", "plain", "shuffle", "reverse"], [None, 3]
    )
    if bounded or coupling == "affine"
] + [
    pytest.param(
        {**kind, "edge_bias": edges, "prior": prior, "num_classes": classes},
        id="-".join([*kind.values(), "edges" if edges else "noedges", prior, f"{classes or 'no'}classes"]),
    )
    for kind, (edges, prior), classes in itertools.product(
        [
            {"coupling": "affine", "permutation": "lu"},
            {"coupling": "affine", "permutation": "plain"},
            {"coupling": "additive", "permutation": "lu"},
        ],
        [(True, "conditional"), (False, "independent"), (True, "independent")],
        [None, 3],
    )
]
SHAPES = [
    pytest.param(
        {"image_size": size, "channels": channels, "levels": levels}, id=f"{size[0]}x{size[1]}x{channels}-L{levels}"
    )
    for size, channels, levels in [((4, 6), 1, 1), ((8, 4), 3, 2), ((8, 16), 1, 3), ((16, 16), 3, 4)]
]
# Every pair of an option and a shape is among the quick ones; the rest of the cross is slow.
OPTIONS_AND_SHAPES = [
    pytest.param(
        *shape.values, *options.values, id=f"{shape.id}-{options.id}", marks=[pytest.mark.slow] * ((i // 2 + i + k) % 2)
    )
    for (i, options), (k, shape) in itertools.product(enumerate(OPTIONS), enumerate(SHAPES))
]


def _labels(config, n):
    return None if config.num_classes is None else torch.arange(n) % config.num_classes


@pytest.mark.parametrize(("shape", "options"), OPTIONS_AND_SHAPES)
def test_decode_inverts_encode_both_ways(shape, options, perturbed_glow):
    config = GlowConfig(**shape, **options, steps=3, width=6)
    glow = perturbed_glow(config).double()
    x = torch.rand(5, config.channels, *config.image_size, dtype=torch.float64)
    y = _labels(config, 5)
    z, log_prob = glow.encode(x, y)
    assert [tuple(part.shape[1:]) for part in z] == list(config.latent_shapes)
    assert log_prob.shape == (5,)
    assert log_prob.dtype == torch.float64
    assert (glow.decode(z, y) - x).abs().max() < 1e-10
    drawn = [torch.randn(5, *s, dtype=torch.float64) for s in config.latent_shapes]
    again, _ = glow.encode(glow.decode(drawn, y), y)
    assert max((a - b).abs().max() for a, b in zip(again, drawn, strict=True)) < 1e-9


@pytest.mark.parametrize(("shape", "options"), [case for case in OPTIONS_AND_SHAPES if case.values[0]["levels"] < 3])
def test_log_prob_is_the_change_of_variables(shape, options, perturbed_glow):
    """log p(x) = log N(z; 0, 1) + log|det dz/dx|, with the determinant from autograd's Jacobian."""
    config = GlowConfig(**shape, **options, steps=2, width=5)
    glow = perturbed_glow(config).double()
    x = torch.rand(1, config.channels, *config.image_size, dtype=torch.float64)
    y = None if config.num_classes is None else torch.tensor([2])

    def flat(values):
        return torch.cat([part.reshape(-1) for part in glow.encode(values, y)[0]])

    jacobian = torch.autograd.functional.jacobian(flat, x).reshape(config.dims, config.dims)
    z = flat(x).detach()
    expected = -0.5 * (z @ z) - 0.5 * config.dims * math.log(2 * math.pi) + torch.linalg.slogdet(jacobian)[1]
    assert abs(float(glow.log_prob(x, y)[0].detach() - expected)) < 1e-8


@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_a_layer_that_forgets_its_log_det_is_noticed(coupling, perturbed_glow, monkeypatch):
    """The check above can fail: drop the log-determinant of actnorms and 1x1 convolutions and it does."""
    config = GlowConfig(image_size=(4, 4), channels=1, levels=1, steps=2, width=5, coupling=coupling)
    glow = perturbed_glow(config).double()
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    before = glow.log_prob(x)
    encode = Mixing.encode
    monkeypatch.setattr(Mixing, "encode", lambda self, x: (encode(self, x)[0], x.new_zeros(())))
    assert abs(float((before - glow.log_prob(x)).detach())) > 1e-3


@pytest.mark.parametrize(
    ("features", "layer"), [({"edge_bias": True}, TopPrior), ({"prior": "independent"}, IndependentPrior)]
)
def test_a_prior_that_forgets_its_log_scales_is_noticed(features, layer, perturbed_glow, monkeypatch):
    config = GlowConfig(image_size=(8, 8), levels=2, steps=1, width=5, **features)
    glow = perturbed_glow(config).double()
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    before = glow.log_prob(x)
    whole = layer.encode

    def forgetful(self, x, y):
        z, _ = whole(self, x, y)
        return z, -0.5 * (z**2 + math.log(2 * math.pi)).sum(dim=(1, 2, 3))

    monkeypatch.setattr(layer, "encode", forgetful)
    assert abs(float((before - glow.log_prob(x)).detach())) > 1e-3


@pytest.mark.parametrize(
    "features",
    [{}, {"edge_bias": True}, {"prior": "independent", "num_classes": 3}],
    ids=["plain", "edges", "independent"],
)
def test_rows_do_not_influence_each_other(features, perturbed_glow):
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=6, **features)
    glow = perturbed_glow(config).double()
    x = torch.rand(7, 3, 8, 8, dtype=torch.float64)
    y = None if config.num_classes is None else torch.tensor([0, 1, 2, 1, 0, 2, 2])
    whole, log_prob = glow.encode(x, y)
    alone, single = glow.encode(x[3:4], None if y is None else y[3:4])
    assert all(torch.allclose(a[3:4], b, atol=1e-12) for a, b in zip(whole, alone, strict=True))
    assert torch.allclose(log_prob[3:4], single, atol=1e-9)


def test_sample_scales_every_latent_and_is_reproducible(perturbed_glow):
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=6)
    glow = perturbed_glow(config)
    first = glow.sample(3, temperature=0.5, generator=torch.Generator().manual_seed(5))
    again = glow.sample(3, temperature=0.5, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first, again)
    generator = torch.Generator().manual_seed(5)
    z = [0.5 * torch.randn(3, *shape, generator=generator) for shape in config.latent_shapes]
    assert torch.equal(first, glow.decode(z))
    mean = glow.decode([torch.zeros(1, *shape) for shape in config.latent_shapes])
    assert torch.allclose(glow.sample(2, temperature=0.0), mean.expand(2, -1, -1, -1), atol=1e-6)


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 3]), torch.tensor([-1, 0])])
@pytest.mark.parametrize("prior", ["conditional", "independent"])
def test_labels_must_fit(prior, labels, perturbed_glow):
    config = GlowConfig(image_size=(4, 4), levels=2, steps=1, width=4, num_classes=3, prior=prior)
    glow = perturbed_glow(config)
    with pytest.raises(ConfigError, match=r"0\.\.2"):
        glow.encode(torch.rand(2, 3, 4, 4), labels)
    with pytest.raises(ConfigError, match=r"0\.\.2"):
        glow.decode([torch.rand(2, *shape) for shape in config.latent_shapes], labels)


@pytest.mark.parametrize("prior", ["conditional", "independent"])
def test_labels_without_classes_are_refused(prior, perturbed_glow):
    glow = perturbed_glow(GlowConfig(image_size=(4, 4), levels=2, steps=1, width=4, prior=prior))
    with pytest.raises(ConfigError, match="no classes"):
        glow.encode(torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))


def test_new_edges_and_priors_leave_a_fresh_model_as_it_was():
    """They start at zero and draw no random numbers."""
    x = torch.rand(2, 3, 8, 8)
    values = []
    for features in ({}, {"edge_bias": True}, {"prior": "independent"}):
        torch.manual_seed(0)
        values.append(Glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=6, **features)).log_prob(x))
    assert torch.allclose(values[0], values[1], rtol=1e-6)
    assert torch.allclose(values[0], values[2], rtol=1e-6)


@pytest.mark.parametrize(
    ("features", "extra"),
    [
        ({}, {}),
        (
            {"edge_bias": True},
            {
                "levels.0.steps.0.coupling.conditioner.edge1": (5, 3, 3),
                "levels.0.steps.0.coupling.conditioner.conv3.edge": (12, 3, 3),
                "levels.0.split.prior.edge": (12, 3, 3),
                "levels.1.steps.0.coupling.conditioner.edge1": (5, 3, 3),
                "levels.1.steps.0.coupling.conditioner.conv3.edge": (24, 3, 3),
                "prior.edge": (48, 3, 3),
            },
        ),
        (
            {"prior": "independent", "num_classes": 3},
            {
                "levels.0.split.prior.mean": (3, 6, 4, 2),
                "levels.0.split.prior.log_scale": (3, 6, 4, 2),
                "prior.mean": (3, 24, 2, 1),
                "prior.log_scale": (3, 24, 2, 1),
            },
        ),
    ],
    ids=["plain", "edges", "independent"],
)
def test_state_has_the_tensors_of_its_config(features, extra):
    """The names and shapes that checkpoints are made of, on the meta device, which allocates nothing."""
    sizes = {"image_size": (8, 4), "levels": 2, "steps": 1, "width": 5}
    with torch.device("meta"):
        plain = Glow(GlowConfig(**sizes)).state_dict()
        state = Glow(GlowConfig(**sizes, **features)).state_dict()
    assert all(tensor.is_meta for tensor in state.values())
    new = {name: tuple(t.shape) for name, t in state.items() if name not in plain or t.shape != plain[name].shape}
    assert new == extra
    gone = {name for name in plain if name not in state}
    independent = {f"levels.0.split.prior.{name}" for name in ("weight", "bias")}
    assert gone == (independent if "prior" in features else set())


def test_wrong_shapes_are_named(perturbed_glow):
    glow = perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4))
    with pytest.raises(ConfigError, match=r"\(3, 4, 4\)"):
        glow.encode(torch.rand(2, 1, 4, 4))
    with pytest.raises(ConfigError, match=r"\(12, 2, 2\)"):
        glow.decode([torch.rand(2, 6, 2, 2)])
    with pytest.raises(ConfigError, match="no classes"):
        glow.encode(torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
