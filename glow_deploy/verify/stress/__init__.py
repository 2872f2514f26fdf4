"""Looking for where a flow stops being invertible: images and latents that no data set holds.

Light to import: engines are passed in, and what needs torch is loaded when the attack begins.
"""

from __future__ import annotations

from glow_deploy.verify.report.stress import StressReport
from glow_deploy.verify.report.stress_rows import StressFailure

from .run import measure_stress
from .settings import Origin, StressSettings
from .table import stress_tables

__all__ = [
    "Origin",
    "StressFailure",
    "StressReport",
    "StressSettings",
    "measure_stress",
    "stress_tables",
]
