"""Folded steps -> encoder and decoder ONNX graphs, node by node."""
