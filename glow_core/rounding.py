"""What exact graphs round of a conditioner: the widths and ranges that export and training must agree on."""

from __future__ import annotations

__all__ = ["ACTIVATION_HEADROOM", "CONDITIONER_BITS", "INPUT_BITS", "LEAST_ACTIVATION"]

CONDITIONER_BITS = 8
"""Bits of a conditioner's weights, and a sign, and of its activations: bfloat16 holds them exactly."""

INPUT_BITS = 10
"""Bits, and a sign, of what a conditioner or a split reads of the trunk: TF32 holds them exactly."""

# An activation that is clipped costs far more likelihood than one that is rounded to steps half as large again. (A
# model of faces, 128 unseen images: clipping at the largest of 64 images costs 0.0014 bits/dim whatever the widths; at
# 1.3 times it, no more than rounding does.)
ACTIVATION_HEADROOM = 1.5
"""The range of a channel's activations, over the largest that was seen."""

LEAST_ACTIVATION = 1e-3
"""Share of the usual range that channels get which are never or hardly ever positive."""
