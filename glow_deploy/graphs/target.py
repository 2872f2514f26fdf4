"""Which operator set and file version a graph is written in: older ones for runtimes that know no newer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glow_deploy.errors import UsageError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "BFLOAT16_OPSET",
    "EARLIEST_IR_VERSION",
    "EARLIEST_OPSET",
    "IR_VERSION",
    "OPSET",
    "SPLIT_COUNTS_OPSET",
    "GraphTarget",
]

# The highest pair that TensorRT 11, TensorRT for RTX 1.x and onnxruntime 1.27 all read.
OPSET = 20
IR_VERSION = 10

# ONNX has a bfloat16 Conv only from here on, with the same IR version. TensorRT 11 reads operator sets up to 25, and
# onnxruntime's CUDA provider has this Conv (its CPU provider has none). Older runtimes know no such operator set and no
# other graph needs it, so it is used where bfloat16 is.
BFLOAT16_OPSET = 22

# ReduceSum takes its axes as an input from here on; all else that a Glow needs is older.
EARLIEST_OPSET = 13
EARLIEST_IR_VERSION = 7

# Split says how many parts it makes from here on, and must. Before, their number is that of its outputs.
SPLIT_COUNTS_OPSET = 18

# The file version of the ONNX release that brought an operator set (onnx.helper.VERSION_TABLE); ours is newer.
_IR_OF = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9}


@dataclass(frozen=True, kw_only=True)
class GraphTarget:
    """What a graph is written in.

    Attributes:
        opset: operator set, 13 to 20; None for 20, or for 22 where there is bfloat16.
        ir_version: version of the file format, 7 to 10; None for that of the ONNX release of an older operator set,
            or for 10.

    Raises:
        UsageError: one is out of range.
    """

    opset: int | None = None
    ir_version: int | None = None

    def __post_init__(self) -> None:
        if self.opset is not None and not EARLIEST_OPSET <= self.opset <= OPSET:
            raise UsageError(f"opset is {self.opset}; graphs of a Glow are written in {EARLIEST_OPSET} to {OPSET}")
        if self.ir_version is not None and not EARLIEST_IR_VERSION <= self.ir_version <= IR_VERSION:
            raise UsageError(
                f"ir_version is {self.ir_version}; graphs of a Glow are written in {EARLIEST_IR_VERSION} to "
                f"{IR_VERSION}"
            )

    @classmethod
    def of(cls, model: onnx.ModelProto) -> GraphTarget:
        """What a graph is written in; what no release writes counts as the default."""
        opset = model.opset_import[0].version if len(model.opset_import) == 1 else OPSET
        ir_version = model.ir_version
        return cls(
            opset=opset if EARLIEST_OPSET <= opset < OPSET else None,
            ir_version=ir_version if EARLIEST_IR_VERSION <= ir_version < IR_VERSION else None,
        )

    def versions(self, *, bfloat16: bool) -> tuple[int, int]:
        """Operator set and file version of a graph.

        Raises:
            UsageError: it has bfloat16, and the operator set asked for knows no such convolution.
        """
        if bfloat16 and self.opset is not None:
            raise UsageError(
                f"graphs with bfloat16 need operator set {BFLOAT16_OPSET}, which has such convolutions: give no opset="
            )
        opset = self.opset or (BFLOAT16_OPSET if bfloat16 else OPSET)
        return opset, self.ir_version or _IR_OF.get(opset, IR_VERSION)
