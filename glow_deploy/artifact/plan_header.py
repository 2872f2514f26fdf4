"""The first bytes of a TensorRT plan, read without deserialising it: no GPU, no code of the plan's is run.

The layout is not documented. It was read from TensorRT's own sample code (`ftrt`) and from plans of tensorrt_rtx 1.7
(`vtrt`), so what is not recognised is reported as unknown, never guessed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from glow_deploy.errors import BundleError

from .flavors import Flavor

__all__ = ["MAGICS", "PlanHeader", "read_header"]

MAGICS: dict[bytes, Flavor] = {b"ftrt": "tensorrt", b"vtrt": "rtx"}
_HEADER_BYTES = 64
_TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")  # bit 0 and up
_KNOWN_RTX = (1,)  # major versions whose size and target fields are where we expect them


@dataclass(frozen=True, kw_only=True)
class PlanHeader:
    """What a plan says about itself.

    Attributes:
        flavor: `tensorrt` (standard) or `rtx` (TensorRT for RTX).
        version: `major.minor.patch.build` of the library that built it.
        targets: for RTX, the compute capabilities it was built for; None where the header does not say.
    """

    flavor: Flavor
    version: str
    targets: tuple[str, ...] | None


def read_header(data: bytes, *, source: str) -> PlanHeader:
    """Read a plan's header.

    Args:
        data: the whole plan.
        source: its name, for messages.

    Raises:
        BundleError: not a plan, or cut short.
    """
    flavor = MAGICS.get(bytes(data[:4]))
    if flavor is None:
        raise BundleError(f"{source} is not a TensorRT plan: it does not begin with ftrt or vtrt")
    if len(data) < _HEADER_BYTES:
        raise BundleError(f"{source} is cut short: {len(data)} bytes are less than a plan's header: compile again")
    version = tuple(data[24:28])
    targets = None
    if flavor == "rtx" and version[0] in _KNOWN_RTX:
        (size,) = struct.unpack_from("<Q", data, 16)
        if size != len(data):
            raise BundleError(
                f"{source} is {len(data)} bytes long where its header says {size}: it is cut short or damaged; "
                "compile again"
            )
        (mask,) = struct.unpack_from("<I", data, 32)
        targets = tuple(name for bit, name in enumerate(_TARGETS) if mask >> bit & 1)
    return PlanHeader(flavor=flavor, version=".".join(map(str, version)), targets=targets)
