"""Exact graphs: a trained additive Glow in integers that float32 carries, so that every backend gives the same bits."""
