"""Judging what other programs make of a bundle: what to feed to them, and reading what they saved."""

from .inputs import GoldenInputs, golden_inputs, write_inputs
from .outputs import SavedOutputs, read_outputs

__all__ = ["GoldenInputs", "SavedOutputs", "golden_inputs", "read_outputs", "write_inputs"]
