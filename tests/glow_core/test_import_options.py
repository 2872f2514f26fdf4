from __future__ import annotations

import json

import pytest

from glow_core import ImportOptions
from glow_core.errors import ConfigError


def test_what_is_known_goes_through_json() -> None:
    options = ImportOptions(image_size=(48, 64), n_bits=5, input_range="centred", scale_map="sigmoid")
    assert ImportOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    assert ImportOptions().to_dict() == {}
    assert ImportOptions(n_bits=8).to_dict() == {"n_bits": 8}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": (64,)}, r"image_size is \(64,\); it must be two whole numbers"),
        ({"image_size": (64, 0)}, "image_size"),
        ({"image_size": (64, 65537)}, "image_size"),
        ({"image_size": (64, 64.0)}, "image_size"),
        ({"n_bits": 0}, "n_bits is 0; it must be a whole number, 1 to 8"),
        ({"n_bits": 9}, "n_bits is 9"),
        ({"n_bits": True}, "n_bits is True"),
        ({"input_range": "half"}, "input_range is 'half'; choose one of unit, centred"),
        ({"scale_map": "tanh"}, "scale_map is 'tanh'; choose one of sigmoid, sigmoid_plain, exp, sigmoid_inv"),
        ({"levels": 3, "colour": 1}, "unknown import options: colour, levels"),
    ],
)
def test_values_out_of_range_and_unknown_ones_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImportOptions.from_dict(values)


def test_the_ends_of_the_ranges_are_accepted() -> None:
    assert ImportOptions(image_size=[1, 65536], n_bits=1).image_size == (1, 65536)
