"""One bijection a file. `encode` runs from the image towards the latents, `decode` back."""

from .actnorm import ActNorm
from .base import Bijection
from .coupling import AdditiveCoupling, AffineCoupling
from .mixing import Mixing
from .permutation import FixedPermutation, InvertibleConv1x1, InvertibleConv1x1LU
from .prior import IndependentPrior, TopPrior
from .split import Split
from .squeeze import Squeeze

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Bijection",
    "FixedPermutation",
    "IndependentPrior",
    "InvertibleConv1x1",
    "InvertibleConv1x1LU",
    "Mixing",
    "Split",
    "Squeeze",
    "TopPrior",
]
