"""A canary: two small convolutions whose result shows what number format a backend really computes in.

Settings say what was asked for. TF32 is on by default in ONNX Runtime's CUDA provider, in TensorRT and in cuDNN, its
switches can be misspelt, ignored or overridden by the environment, and its results look right at a glance.
"""

from .detect import Runner, detect
from .integer_verdict import IntegerResult, judge_integers
from .integers import IntegerCanary, make_integers
from .operands import Canary, make_canary
from .report import CanaryResult, CanaryUnavailable, ConvolutionResult
from .run import canary_for, canary_on_server, integers_for, integers_on_server

__all__ = [
    "Canary",
    "CanaryResult",
    "CanaryUnavailable",
    "ConvolutionResult",
    "IntegerCanary",
    "IntegerResult",
    "Runner",
    "canary_for",
    "canary_on_server",
    "detect",
    "integers_for",
    "integers_on_server",
    "judge_integers",
    "make_canary",
    "make_integers",
]
