from __future__ import annotations

import pytest

from glow_core import errors
from glow_core.errors import CheckpointError, GlowCoreError, MissingFactError


def test_a_missing_fact_says_what_is_missing_and_how_to_tell_it() -> None:
    error = MissingFactError("weights.pt", what="the size of its images", option="--image-size H W")
    assert str(error) == "weights.pt: the file does not say the size of its images: give --image-size H W"
    assert (error.what, error.option) == ("the size of its images", "--image-size H W")
    assert isinstance(error, CheckpointError)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_bad_input_to_a_command(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, GlowCoreError)
    assert kind.exit_code == 2
