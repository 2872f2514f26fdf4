import pytest

from glow_deploy.data.reading import Reading
from glow_deploy.errors import UsageError


@pytest.mark.parametrize("options", [{"layout": "chw"}, {"float_range": "0..1"}, {"depth": 8}, {"depth": 17}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match=f"{next(iter(options))} is"):
        Reading(**options)


def test_they_are_spelt_as_options():
    reading = Reading(layout="nchw", float_range="unit", depth=12)
    assert reading.words() == ["--layout", "nchw", "--float-range", "unit", "--depth", "12"]
    assert Reading().words() == []
