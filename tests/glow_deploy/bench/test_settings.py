from __future__ import annotations

import pytest

from glow_deploy.bench import BenchSettings
from glow_deploy.errors import UsageError


@pytest.mark.parametrize(
    "options", [{"batches": ()}, {"batches": (0,)}, {"iterations": 0}, {"duration": 0.0}, {"roles": ()}, {"threads": 0}]
)
def test_settings_are_checked(options):
    with pytest.raises(UsageError):
        BenchSettings(**options)
