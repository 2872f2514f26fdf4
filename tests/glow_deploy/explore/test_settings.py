from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.explore.settings import ExploreSettings


@pytest.mark.parametrize("values", [{"draws": 0}, {"max_upload": 0}, {"kept_images": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(UsageError):
        ExploreSettings(**values)
