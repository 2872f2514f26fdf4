from __future__ import annotations

import pytest
from glow_cli.catalogue import load
from glow_cli.common.train_options.length import LengthOptions

from glow_deploy.errors import UsageError


def test_a_run_needs_an_end():
    for name in ("max_steps", "max_epochs", "max_seconds"):
        LengthOptions(**{**dict.fromkeys(("max_steps", "max_epochs", "max_seconds")), name: 1}).require()
    with pytest.raises(UsageError) as refused:
        LengthOptions(max_steps=None, max_epochs=None, max_seconds=None).require()
    for words in ("--max-steps N", "--max-epochs X", "--max-seconds X", "for example --max-seconds 600"):
        assert words in str(refused.value)


def test_the_help_names_the_ends_with_an_example():
    words = load("train").help
    assert "--max-steps, --max-epochs or --max-seconds" in words
    assert "for example --max-seconds 600" in words
