"""Errors the model, its files and its training raise on purpose. No torch here."""

__all__ = ["CheckpointError", "ConfigError", "GlowCoreError", "MissingFactError", "TrainingError"]


class GlowCoreError(Exception):
    """Root of this package's errors; the message says what is wrong, where, and what to do."""

    exit_code = 2


class ConfigError(GlowCoreError):
    """A model description that contradicts itself or is out of range."""


class CheckpointError(GlowCoreError):
    """A checkpoint that cannot be read, or does not hold the model it says."""


class MissingFactError(CheckpointError):
    """Another project's checkpoint that does not hold a fact which nobody gave; the message names the option.

    Attributes:
        what: is not in the file, in words.
        option: tells it, as it is written on the command line.
    """

    def __init__(self, path: str, *, what: str, option: str) -> None:
        super().__init__(f"{path}: the file does not say {what}: give {option}")
        self.what = what
        self.option = option


class TrainingError(GlowCoreError):
    """Training that cannot start or had to stop."""
