"""How large a file may be and may claim to be before it is believed.

Files come from anybody, and a few kilobytes can ask a runtime for gigabytes. Each limit stands well above the largest
model that this tool is made for: L = 6 levels of K = 32 steps, conditioners 512 wide, images of 256x256x3, which below
is called the full size. Its hidden activations are 512 x 128 x 128 = 2^23 values an image, its convolutions take 2.4e11
multiplications an image, its encoder has 3,150 nodes, 1,552 weights and 900 MB.
"""

from __future__ import annotations

__all__ = [
    "LONGEST_NAME",
    "MOST_AXES",
    "MOST_CONSTANTS",
    "MOST_CONSTANTS_PER_WEIGHT",
    "MOST_DIM",
    "MOST_FIELDS",
    "MOST_LIVE_VALUES",
    "MOST_NODES",
    "MOST_OTHER_BYTES",
    "MOST_PARTS",
    "MOST_RUN_VALUES",
    "MOST_TENSOR_VALUES",
    "MOST_WORK",
    "SIZE_LIMIT",
]

SIZE_LIMIT = 2**31 - 1
"""Bytes of an ONNX file: protobuf's own limit."""

MOST_OTHER_BYTES = 16 << 20
"""Bytes of an ONNX file outside its weights: nodes, names, texts. The full size has 0.4 MB of them."""

MOST_FIELDS = 1_000_000
"""Protobuf fields of an ONNX file; an empty one takes 2 bytes there, 100 in memory. The full size has 42,416."""

MOST_NODES = 50_000
"""Nodes, and weights, of a graph: sixteen times the full size."""

LONGEST_NAME = 1024
"""Letters of one name in a graph; ours have up to 60."""

MOST_AXES = 8
"""Dimensions of a tensor, and entries of a list in an attribute; ours have up to 4."""

MOST_PARTS = 64
"""Outputs of a split, inputs of a Concat and the block of SpaceToDepth; ours have 2."""

MOST_DIM = 2**24
"""Entries of one dimension. The table of a class-conditional prior has one for each class, 10^6 at most."""

MOST_TENSOR_VALUES = 2**27
"""Values of one tensor for one image (512 MiB of float32): 16 times the full size, and 1024x1024 at its width."""

MOST_LIVE_VALUES = 2**28
"""Values that are needed at one moment for one image (1 GiB of float32): ten times the full size."""

MOST_RUN_VALUES = MOST_LIVE_VALUES
"""Values that are needed at one moment for all images of one run: no more than one image may need.

A larger batch is run in pieces. The full size has 15 images in one, and of 32x32 pixels at its width there are a
thousand.
"""

MOST_CONSTANTS = 2**26
MOST_CONSTANTS_PER_WEIGHT = 16
"""Values that a runtime computes from weights alone while it loads a graph: 2^26, and 16 for each value of a weight.

Such are the edges of convolutions that pad with ones, spread over the image: the full size has 3.7e8 of them beside
2.2e8 weights, the same model 64 wide 4.6e7.
"""

MOST_WORK = 2**43
"""Multiplications and other element-wise results for one image: 32 times the full size."""
