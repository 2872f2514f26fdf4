"""What a graph of a folded model says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glow_deploy.artifact.metadata import GraphMetadata

if TYPE_CHECKING:
    from glow_deploy.folding.arrays import FoldedGlow
    from glow_deploy.protocol import Role

__all__ = ["describe"]


def describe(folded: FoldedGlow, *, role: Role, precision: str, model_id: str) -> GraphMetadata:
    """Describe a folded model for the metadata of one of its graphs.

    Args:
        folded: the model.
        role: `encoder` or `decoder`.
        precision: name of the plan that the graph follows, `fp32` ...
        model_id: sha256 of the folded weights.
    """
    depths = {len(level.steps) for level in folded.levels}
    return GraphMetadata(
        role=role,
        n_bits=folded.n_bits,
        image_size=folded.image_shape[1:],
        channels=folded.image_shape[0],
        levels=len(folded.levels),
        steps=depths.pop() if len(depths) == 1 else 0,
        coupling=folded.coupling,
        precision=precision,
        num_classes=folded.num_classes,
        model_id=model_id,
    )
