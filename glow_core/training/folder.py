"""Files of a training run's folder, opened and refused in its words."""

from __future__ import annotations

from functools import partial

from glow_core.errors import TrainingError
from glow_core.own_files import open_own as _open_own
from glow_core.own_files import refuse_link as _refuse_link

__all__ = ["open_own", "refuse_link"]

open_own = partial(_open_own, error=TrainingError)
"""See `glow_core.own_files.open_own`."""

refuse_link = partial(_refuse_link, error=TrainingError)
"""See `glow_core.own_files.refuse_link`."""
