"""What another project's checkpoint may leave unsaid."""

from ..import_options import ImportOptions, InputRange, ScaleMap

__all__ = ["ImportOptions", "InputRange", "ScaleMap"]
