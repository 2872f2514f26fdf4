"""From a trained checkpoint to a bundle. Needs torch."""

from .run import default_bundle_path, export
from .settings import ExportSettings, Precision, Weights

__all__ = ["ExportSettings", "Precision", "Weights", "default_bundle_path", "export"]
