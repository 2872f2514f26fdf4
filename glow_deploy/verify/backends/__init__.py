"""The backends of the matrix: opened by name, or absent with a reason, and what they really compute in."""
