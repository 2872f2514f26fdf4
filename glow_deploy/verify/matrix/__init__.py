"""Encode on A, decode on B, for every A and B: measured, judged, and traced to a cause."""
