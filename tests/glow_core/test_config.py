import json

import pytest

from glow_core import GlowConfig
from glow_core.errors import ConfigError


def test_latent_shapes_add_up_to_the_image():
    config = GlowConfig(image_size=(16, 24), channels=3, levels=3, steps=2, width=8)
    assert config.latent_shapes == ((6, 8, 12), (12, 4, 6), (48, 2, 3))
    assert sum(c * h * w for c, h, w in config.latent_shapes) == config.dims == 3 * 16 * 24


def test_dict_round_trip_goes_through_json():
    config = GlowConfig(image_size=(8, 8), levels=2, coupling="additive", permutation="reverse", num_classes=4)
    assert GlowConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_dict_names_later_features_only_where_they_are_on():
    """The first releases refuse entries that they do not know, and must go on reading the models they can."""
    plain = GlowConfig(image_size=(8, 8))
    assert {"edge_bias", "prior"}.isdisjoint(plain.to_dict())
    assert GlowConfig.from_dict(plain.to_dict() | {"edge_bias": False, "prior": "conditional"}) == plain
    for feature in ({"edge_bias": True}, {"prior": "independent"}):
        config = GlowConfig(image_size=(8, 8), **feature)
        assert config.to_dict() == plain.to_dict() | feature
        assert GlowConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": (12, 16)}, "multiples of 8"),
        ({"image_size": (16,)}, "image_size"),
        ({"image_size": (16, -16)}, "image_size"),
        ({"image_size": "16"}, "image_size"),
        ({"n_bits": 0}, "n_bits"),
        ({"n_bits": 9}, "n_bits"),
        ({"n_bits": True}, "n_bits"),
        ({"levels": 0}, "levels"),
        ({"steps": 1.5}, "steps"),
        ({"coupling": "spline"}, "coupling"),
        ({"permutation": "qr"}, "permutation"),
        ({"bounded_scale": 1}, "bounded_scale"),
        ({"edge_bias": None}, "edge_bias"),
        ({"prior": "uniform"}, "prior is 'uniform'; choose one of conditional, independent"),
        ({"prior": ["independent"]}, "prior"),
        ({"num_classes": 0}, "num_classes"),
        ({"channels": 2}, r"1 \(greyscale\) or 3"),
        ({"channels": 10**18}, "channels"),
        ({"levels": 17}, "1 to 16"),
        ({"steps": 1025}, "1 to 1024"),
        ({"width": 10**5000}, "unprintable int"),
        ({"image_size": (2**70, 2**70)}, "image_size"),
        ({"num_classes": 10**18}, "num_classes"),
    ],
)
def test_bad_values_are_named(change, words):
    with pytest.raises(ConfigError, match=words):
        GlowConfig(**{"image_size": (16, 16), **change})


def test_the_largest_values_are_accepted():
    largest = GlowConfig(image_size=(65536, 65536), levels=16, steps=1024, width=65536, num_classes=1_000_000)
    assert largest.dims == 3 * 2**32


@pytest.mark.parametrize("change", [{"extra": 1}, {"width": None}, {10**5000: 1}, {"a" * 10**6: 1}])
def test_unknown_or_wrong_entries_are_refused(change):
    values = GlowConfig(image_size=(16, 16)).to_dict() | change
    with pytest.raises(ConfigError):
        GlowConfig.from_dict(values)


def test_missing_entry_is_refused():
    values = GlowConfig(image_size=(16, 16)).to_dict()
    del values["width"]
    with pytest.raises(ConfigError, match="must hold"):
        GlowConfig.from_dict(values)
