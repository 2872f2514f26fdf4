from __future__ import annotations

import sys

import pytest

from glow_deploy.errors import MissingDependencyError


def test_what_happened_is_counted():
    pytest.importorskip("prometheus_client", reason="counting needs the extra `serving`")
    from glow_deploy.serving.metrics import Metrics

    metrics, waiting = Metrics(), {"a": 0}
    metrics.watch(lambda: waiting)
    metrics.answered("a", 200, 0.02)
    metrics.answered("a", 503, 0.0)
    metrics.ran("a", 3)
    waiting["a"] = 4
    text = metrics.text()[0].decode()
    assert 'glow_requests_total{model="a",status="200"} 1.0' in text
    assert 'glow_requests_total{model="a",status="503"} 1.0' in text
    assert 'glow_batch_rows_sum{model="a"} 3.0' in text
    assert 'glow_request_seconds_bucket{le="0.025",model="a"} 2.0' in text
    assert 'glow_waiting{model="a"} 4.0' in text
    assert 'status="200"' not in Metrics().text()[0].decode()  # no state is shared


def test_without_the_package_the_extra_is_named(monkeypatch):
    from glow_deploy.serving.metrics import Metrics

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDependencyError, match=r"glow-deploy\[serving\]"):
        Metrics()
