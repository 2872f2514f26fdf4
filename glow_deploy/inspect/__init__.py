"""What a file is and what is in it, told from its content alone. Nothing in the file is run."""

from .file import inspect_file, recognise
from .inspection import Inspection

__all__ = ["Inspection", "inspect_file", "recognise"]
