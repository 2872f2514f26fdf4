"""What the server counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from glow_deploy.errors import MissingDependencyError

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of their own.

    Raises:
        MissingDependencyError: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingDependencyError(
                "serving needs prometheus-client: install it with `pip install 'glow-deploy[serving]'`"
            ) from error
        self._registry = CollectorRegistry()
        self._requests = Counter("glow_requests", "Requests answered.", ("model", "status"), registry=self._registry)
        self._seconds = Histogram(
            "glow_request_seconds",
            "From the end of a request's headers to its answer.",
            ("model",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Histogram(
            "glow_batch_rows", "Rows of the batches that were run.", ("model",), buckets=_ROWS, registry=self._registry
        )
        self._waiting = Gauge("glow_waiting", "Requests that wait for an engine.", ("model",), registry=self._registry)

    def answered(self, model: str, status: int, seconds: float) -> None:
        """Count a request; `model` is one that is served, or empty."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)

    def ran(self, model: str, rows: int) -> None:
        """Count a batch."""
        self._rows.labels(model).observe(rows)

    def watch(self, waiting: Callable[[], Mapping[str, int]]) -> None:
        """Take the lengths of the queues from `waiting` whenever they are asked for."""
        for model in waiting():
            self._waiting.labels(model).set_function(partial(_length, waiting, model))

    def text(self) -> tuple[bytes, str]:
        """All of it, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _length(waiting: Callable[[], Mapping[str, int]], model: str) -> float:
    return waiting()[model]
