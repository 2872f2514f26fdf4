"""The one place that imports ONNX Runtime: it reports to its vendor unless told not to, and it is told here.

The official builds of 1.29 and later write a device identifier into the user's cache and send events over the network,
from the moment they are imported. Only an environment variable that is set before that prevents all of it;
`disable_telemetry_events` comes too late for the first event, and covers Windows and older builds.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["TELEMETRY_VARIABLE", "import_onnxruntime"]

TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime sends nothing where it is `1`. A value that the user has set stands, whatever it is."""


def import_onnxruntime() -> Any:
    """Return the module `onnxruntime`, imported with its telemetry off unless the user set `TELEMETRY_VARIABLE`.

    Child processes inherit the variable.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """
    chosen = os.environ.get(TELEMETRY_VARIABLE)
    if chosen is None:
        os.environ[TELEMETRY_VARIABLE] = "1"
    import onnxruntime

    if chosen is None:  # also where another library imported it before, without the variable
        onnxruntime.disable_telemetry_events()
    return onnxruntime
