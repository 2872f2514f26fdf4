"""How likely and how typical pictures are under a model, on any engine and without torch."""

from __future__ import annotations

from .score import HeldOut, Scores, ScoreSettings, score_images, score_stream

__all__ = ["HeldOut", "ScoreSettings", "Scores", "score_images", "score_stream"]
