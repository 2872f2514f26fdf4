"""What OpenVINO reports here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from glow_deploy.artifact.flavors import OPENVINO, OpenVinoName
from glow_deploy.errors import GlowDeployError

__all__ = ["examine_openvino", "openvino_backends"]


def examine_openvino() -> tuple[dict[str, str], str]:
    """List the devices that OpenVINO reports, by name, and what they are called.

    Returns:
        The devices, such as `CPU` and `GPU.0`; none where the package is not there. And a sentence on what was found.
    """
    if importlib.util.find_spec("openvino") is None:
        return {}, "openvino is not installed"
    from glow_deploy.engines.openvino import openvino_devices

    try:
        found = openvino_devices()
    except GlowDeployError as error:
        return {}, str(error)
    return found, f"{len(found)} reported by OpenVINO"


def openvino_backends(devices: Mapping[str, str]) -> list[OpenVinoName]:
    """The backends that run on these devices, the one at OpenVINO's own choice of number format among them."""
    kinds = {name.partition(".")[0].lower() for name in devices}
    return [name for name in OPENVINO if name.removeprefix("openvino-").partition("-")[0] in kinds]
