"""What a reader makes of a checkpoint, before anything is rounded to float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from glow_core import Glow
from glow_core.import_options import ImportOptions
from glow_core.readers import Tensors, native, reader_of

__all__ = ["float64_glow"]


def float64_glow(state: Mapping[str, torch.Tensor], options: ImportOptions) -> Glow:
    """Read a state dictionary as `read_checkpoint` does, but keep the layers' float64."""
    reader = reader_of(state)
    assert reader is not None
    tensors = Tensors(state, path="state")
    foreign = reader.read(tensors, options)
    tensors.finish()
    foreign = native._plain_where_mixed(foreign if foreign.centred else native._centred(foreign))
    config = native._config(foreign)
    weights = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in native._named(foreign, config)
    }
    glow = Glow(config).double().eval()
    glow.load_state_dict(weights)
    return glow
