"""What this machine can do: packages, CUDA, GPUs, what ONNX Runtime really runs on, and what to change."""

from __future__ import annotations

import csv
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from glow_deploy._version import __version__

from .arithmetic import Arithmetic, arithmetic_advice, measure_arithmetic
from .openvino import examine_openvino
from .providers import Provider, examine_providers
from .shared_library import needed_libraries
from .web import examine_web

__all__ = ["CudaLink", "Gpu", "Report", "examine", "find_gpus"]

# Import name or distribution -> what it is for. The order is that of the printed table.
_PACKAGES: Mapping[str, str] = {
    "numpy": "everything",
    "onnx": "reading and writing graphs",
    "onnxruntime": "running graphs (CPU build)",
    "onnxruntime-gpu": "running graphs (CPU and CUDA)",
    "openvino": "running graphs (OpenVINO)",
    "pillow": "pictures",
    "safetensors": "checkpoints",
    "torch": "training, export, the reference backend",
    "lightning-fabric": "training",
    "datasets": "hf: data sets",
    "tensorboard": "training logs",
    "tensorrt": "standard TensorRT plans",
    "tensorrt-rtx-cu13": "TensorRT for RTX plans",
    "tensorrt-rtx-cu12": "TensorRT for RTX plans, CUDA 12",
    "cuda-bindings": "GPU memory for TensorRT",
}
_CUDART = re.compile(r"libcudart\.so\.(\d+)")
# Targets of TensorRT for RTX plans; data-centre Hopper and Blackwell are not among them.
_RTX_TARGETS = frozenset({"7.5", "8.0", "8.6", "8.9", "12.0", "12.1"})
_CUDA13_DRIVER = 580


@dataclass(frozen=True, kw_only=True)
class CudaLink:
    """Which CUDA a package is built for.

    Attributes:
        package: its name.
        major: 12, 13, ...; None for a build without CUDA, or where nothing says it.
        evidence: where that was read.
    """

    package: str
    major: int | None
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU as nvidia-smi tells it.

    Attributes:
        index: its CUDA ordinal, where CUDA_VISIBLE_DEVICES does not renumber.
        name: of the product.
        compute_capability: e.g. `8.9`.
        memory_mib: total memory.
        driver: version of the driver.
    """

    index: int
    name: str
    compute_capability: str
    memory_mib: int
    driver: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything `examine` found; `advice` is empty where there is nothing to change."""

    glow_deploy: str
    python: str
    executable: str
    platform: str
    cpu: str
    cores: int
    packages: Mapping[str, str | None]
    purposes: Mapping[str, str]
    cuda: tuple[CudaLink, ...]
    cuda_majors_agree: bool
    gpus: tuple[Gpu, ...]
    gpu_detail: str
    providers: tuple[Provider, ...]
    environment: Mapping[str, str]
    tf32: str
    arithmetic: tuple[Arithmetic, ...]
    openvino_devices: Mapping[str, str]
    openvino_detail: str
    web: Mapping[str, str]
    advice: tuple[str, ...]


def examine() -> Report:
    """Look at this machine. Starts ONNX Runtime and OpenVINO, never imports torch or TensorRT, changes nothing."""
    packages = {name: _version(name) for name in _PACKAGES}
    cuda = _cuda_links(packages)
    gpus, gpu_detail = find_gpus()
    providers = examine_providers()
    environment = {
        name: os.environ[name]
        for name in ("NVIDIA_TF32_OVERRIDE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE")
        if name in os.environ
    }
    openvino_devices, openvino_detail = examine_openvino()
    arithmetic = measure_arithmetic(providers, openvino_devices)
    agree = len({link.major for link in cuda if link.major is not None}) <= 1
    return Report(
        glow_deploy=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        platform=platform.platform(),
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        packages=packages,
        purposes=_PACKAGES,
        cuda=cuda,
        cuda_majors_agree=agree,
        gpus=gpus,
        gpu_detail=gpu_detail,
        providers=providers,
        environment=environment,
        tf32=_tf32_state(providers, environment),
        arithmetic=arithmetic,
        openvino_devices=openvino_devices,
        openvino_detail=openvino_detail,
        web=examine_web(),
        advice=(
            *_advice(packages, cuda, gpus, providers, environment, agree=agree),
            *arithmetic_advice(arithmetic, environment),
        ),
    )


def find_gpus() -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs nvidia-smi lists, and a sentence on what was found."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return (), "nvidia-smi is not installed: no NVIDIA driver here"
    query = "index,name,compute_cap,memory.total,driver_version"
    try:
        done = subprocess.run(
            [tool, f"--query-gpu={query}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"nvidia-smi does not answer: {error}"
    if done.returncode != 0:
        words = (done.stdout or done.stderr).split()
        return (), f"nvidia-smi failed: {' '.join(words)[:200]}"
    gpus = []
    for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True):
        if len(row) == 5 and _is_whole(row[0]):
            memory = int(row[3]) if _is_whole(row[3]) else 0
            gpus.append(
                Gpu(index=int(row[0]), name=row[1], compute_capability=row[2], memory_mib=memory, driver=row[4])
            )
    return tuple(gpus), f"{len(gpus)} found by nvidia-smi"


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _cuda_links(packages: Mapping[str, str | None]) -> tuple[CudaLink, ...]:
    links = []
    for package, files in (
        ("torch", ("lib/libtorch_cuda.so",)),
        ("onnxruntime", ("capi/libonnxruntime_providers_cuda.so",)),
    ):
        folder = _package_folder(package)
        if folder is None:
            continue
        found = next((folder / name for name in files if (folder / name).is_file()), None)
        if found is None:
            links.append(CudaLink(package=package, major=None, evidence=f"built without CUDA (no {files[0]})"))
            continue
        match = next(filter(None, map(_CUDART.fullmatch, needed_libraries(found))), None)
        evidence = f"{found.name} needs {match.group(0)}" if match else f"{found.name} names no libcudart"
        links.append(CudaLink(package=package, major=int(match.group(1)) if match else None, evidence=evidence))
    for name in ("tensorrt", "tensorrt-rtx"):
        for major in (12, 13, 14):
            version = _version(f"{name}-cu{major}")
            if version is not None:
                links.append(CudaLink(package=name, major=major, evidence=f"installed as {name}-cu{major} {version}"))
    bindings = packages.get("cuda-bindings")
    if bindings is not None:
        links.append(
            CudaLink(package="cuda-bindings", major=int(bindings.split(".")[0]), evidence=f"version {bindings}")
        )
    return tuple(links)


def _tf32_state(providers: tuple[Provider, ...], environment: Mapping[str, str]) -> str:
    override = environment.get("NVIDIA_TF32_OVERRIDE")
    if override == "0":
        return "off for every CUDA library (NVIDIA_TF32_OVERRIDE=0)"
    ours = "glow-deploy turns it off in ONNX Runtime and TensorRT and reads it back"
    if any(provider.tf32 for provider in providers):
        return "ON in ONNX Runtime's CUDA provider although it was turned off"
    if override == "1":
        return f"forced by NVIDIA_TF32_OVERRIDE=1 for libraries that allow it; {ours}"
    return ours


def _advice(
    packages: Mapping[str, str | None],
    cuda: tuple[CudaLink, ...],
    gpus: tuple[Gpu, ...],
    providers: tuple[Provider, ...],
    environment: Mapping[str, str],
    *,
    agree: bool,
) -> list[str]:
    advice = []
    if packages["torch"] is None:
        advice.append("Training and export need torch: pip install 'glow-deploy[train]'. Running engines does not.")
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        advice.append(
            "onnxruntime and onnxruntime-gpu overwrite each other's files: "
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want."
        )
    if not agree:
        listed = ", ".join(f"{link.package} {link.major}" for link in cuda if link.major is not None)
        advice.append(f"Packages are built for different CUDA versions ({listed}): install builds of one major.")
    usable = {provider.name for provider in providers if provider.usable}
    if "CPUExecutionProvider" not in usable:
        wanted = "glow-deploy[gpu]" if gpus else "glow-deploy[cpu]"
        held = [name for name in ("onnxruntime", "onnxruntime-gpu") if packages[name]]
        remove = f"pip uninstall {' '.join(held)}, then " if held else ""
        advice.append(f"ONNX Runtime cannot run even on the CPU: {remove}pip install '{wanted}'.")
    elif gpus and packages["onnxruntime"] and not packages["onnxruntime-gpu"]:
        advice.append(
            "There is a GPU, and the installed ONNX Runtime is the one for CPUs: pip uninstall onnxruntime, then "
            "pip install 'glow-deploy[gpu]'. The two must not be installed together."
        )
    elif gpus and "CUDAExecutionProvider" not in usable:
        advice.append(
            "There is a GPU, but ONNX Runtime cannot use it: pip install 'onnxruntime-gpu[cuda,cudnn]' brings the "
            "CUDA and cuDNN libraries."
        )
    majors = [(gpu.driver, gpu.driver.partition(".")[0]) for gpu in gpus]
    old = [driver for driver, major in majors if _is_whole(major) and int(major) < _CUDA13_DRIVER]
    if old and any(link.major == 13 for link in cuda):
        advice.append(f"Driver {old[0]} is older than {_CUDA13_DRIVER}, the first that runs CUDA 13: update it.")
    for gpu in gpus:
        if gpu.compute_capability not in _RTX_TARGETS:
            advice.append(
                f"{gpu.name} (compute capability {gpu.compute_capability}) cannot run TensorRT for RTX plans: "
                "use `glow-deploy compile BUNDLE --flavor tensorrt`."
            )
    if gpus and packages["tensorrt"] is None:
        advice.append(
            "Standard TensorRT is not installed: pip install 'glow-deploy[tensorrt]' where NVIDIA's index is reachable."
        )
    if packages["tensorrt-rtx-cu13"] is None and packages["tensorrt-rtx-cu12"] is None:
        advice.append("TensorRT for RTX compiles plans even without a GPU: pip install 'glow-deploy[rtx]'.")
    if "OPENBLAS_CORETYPE" in environment:
        advice.append("OPENBLAS_CORETYPE is set and may slow NumPy's matrix products, which bench compares with.")
    return advice


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package_folder(package: str) -> Path | None:
    # find_spec of a top-level name does not import it.
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return Path(places[0]) if places else None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
