from __future__ import annotations

import pytest

from glow_deploy.bench.matrix_rate import matrix_rate
from glow_deploy.errors import UsageError


def test_the_matrix_rate_is_plausible():
    rate = matrix_rate([(64, 64, 64)], seconds=0.02)
    assert rate.library in ("numpy", "onnxruntime")
    assert 1e7 < rate.flops_per_second < 1e15
    with pytest.raises(UsageError):
        matrix_rate([])
