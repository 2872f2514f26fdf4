"""Which backends will run a bundle, told without opening an engine: tests must be named before anything is measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.flavors import BACKEND_FLAVORS, OPENVINO, WEB, engine_files
from glow_deploy.engines.device import Device, count_gpus, parse_device
from glow_deploy.engines.trt_module import MODULES
from glow_deploy.verify.backends.backend import KNOWN, REFERENCE, SIMULATED, YARDSTICK

__all__ = ["unusable_backends"]


def unusable_backends(bundle: Bundle, *, device: str, ckpt: Path | None) -> Mapping[str, str]:
    """Say why backends cannot run a bundle here, by name; those that probably can are not in it.

    Opening an engine may still fail where nothing here speaks against it.

    Args:
        bundle: whose engines.
        device: `auto`, `cpu` or `cuda[:N]`.
        ckpt: the bundle's checkpoint, or None.
    """
    wanted = parse_device(device)
    found = {name: _reason(name, bundle, device=wanted, ckpt=ckpt) for name in KNOWN}
    return {name: reason for name, reason in found.items() if reason}


def _reason(name: str, bundle: Bundle, *, device: Device, ckpt: Path | None) -> str:
    if name in (REFERENCE, YARDSTICK):
        return "" if ckpt is not None else "it needs the bundle's checkpoint: give --glow-ckpt"
    if name == SIMULATED:
        if bundle.manifest.precision == "exact":
            return "exact graphs are not simulated: their integers are the same or they are not"
        return "graphs without 16 bit need no simulation" if bundle.manifest.precision == "fp32" else ""
    if name == "onnxruntime-cuda":
        return _no_gpu(device) or _no_cuda_provider(device)
    if name in OPENVINO:
        return _no_openvino(name)
    if name in WEB:
        from glow_deploy.engines.web import web_problem

        return web_problem(name) or ""
    flavor = BACKEND_FLAVORS.get(name)
    if flavor is not None:
        module = MODULES[flavor]
        missing = [plan for plan in engine_files(flavor) if not (bundle.path / plan).is_file()]
        if missing:
            return (
                f"{' and '.join(missing)} not in {bundle.path}: compile with "
                f"`glow-deploy compile {bundle.path} --flavor {flavor}`"
            )
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: pip install 'glow-deploy[{flavor}]'"
        return _no_gpu(device)
    return ""


def _no_openvino(name: str) -> str:
    # Its devices are not listed here: that loads libraries of drivers, and the engine says the same when it is opened.
    if importlib.util.find_spec("openvino") is None:
        return f"openvino, which {name} needs, is not installed: pip install 'glow-deploy[openvino]'"
    return ""


def _no_gpu(device: Device) -> str:
    if device.kind == "cpu":
        return "it needs a GPU, and the device asked for is the CPU"
    gpus = count_gpus()
    if device.index >= gpus:
        return f"there is no GPU number {device.index}: this machine shows {gpus}"
    return ""


def _no_cuda_provider(device: Device) -> str:
    from glow_deploy.engines.onnxruntime import cuda_problem

    return cuda_problem(Device("cuda", device.index)) or ""
