"""How fast engines run, and what share of the machine's arithmetic they reach."""

from .run import BenchReport, Timing, bench, time_engine
from .settings import BenchSettings

__all__ = ["BenchReport", "BenchSettings", "Timing", "bench", "time_engine"]
