"""What `verify` sees: faults planted into the weights of sound bundles, and sound bundles that must pass.

Every fault is looked for twice. *Weights*: by comparing the graphs' weights, which runs nothing. *Images*: by running
the graphs alone, as where only a compiled plan is there, whose weights cannot be read. The second table gives the
smallest size of each kind of fault from which on images showed every one that was planted.

    python benchmarks/planted_faults.py [--seconds 600] [--precision fp32 ...] [--ckpt CKPT] [--seed 0] [--json FILE]

Without a checkpoint small models with perturbed weights are made. The exit code is 1 if the weights hid a fault, or if
a sound model failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from glow_core import Glow, GlowConfig, save_checkpoint
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import UnsoundModelError
from glow_deploy.export import ExportSettings, export
from glow_deploy.verify import VerifyReport, VerifySettings, verify

PRECISIONS = ("fp32", "mixed", "bf16-mixed", "fp16")
ROLES = (("encoder",), ("decoder",), ("encoder", "decoder"))
MODELS: dict[str, dict[str, Any]] = {
    "affine": {},
    "additive": {"coupling": "additive", "permutation": "plain"},
    "unbounded, classes": {"bounded_scale": False, "num_classes": 3},
    "edges": {"edge_bias": True, "levels": 1},
}

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What was planted, and who saw it."""

    model: str
    precision: str
    kind: str
    size: float
    weight: str
    roles: tuple[str, ...]
    weights: bool
    images: bool
    backends: dict[str, bool]


def _entry(array: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
    flat = array.reshape(-1)
    large = np.flatnonzero(np.abs(flat) >= np.quantile(np.abs(flat), 0.9))
    flat[generator.choice(large)] *= 1 + size
    return array


def _row(array: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
    array[generator.integers(len(array))] *= 1 + size
    return array


def _all(array: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
    return array * (1 + size)


def _one_bias(array: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
    array.reshape(-1)[generator.integers(array.size)] += size
    return array


# Kind -> part of the names of its weights, the change, and its sizes.
KINDS: dict[str, tuple[str, Change, tuple[float, ...]]] = {
    "1x1, one large entry, relative": ("/invconv/weight", _entry, (0.001, 0.01, 0.1, 0.3)),
    "1x1, one row, relative": ("/invconv/weight", _row, (0.001, 0.01, 0.1, 0.3)),
    "conditioner, whole convolution, relative": ("/coupling/conv", _all, (0.001, 0.01, 0.1, 0.3)),
    "conditioner, one large entry, relative": ("/coupling/conv", _entry, (0.01, 0.1, 1.0)),
    "1x1, one bias, added": ("/invconv/bias", _one_bias, (0.002, 0.02, 0.2)),
    "conv3, one bias, added": ("/coupling/conv3/bias", _one_bias, (0.002, 0.02, 0.2)),
}


def smooth_images(n: int, config: GlowConfig, *, seed: int) -> np.ndarray:
    """Coarse random fields with a little noise, uint8 [n,C,H,W]."""
    generator = np.random.default_rng(seed)
    height, width = config.image_size
    coarse = generator.random((n, config.channels, height // 4, width // 4))
    fine = np.kron(coarse, np.ones((1, 1, 4, 4))) * 0.8 + generator.random((n, config.channels, height, width)) * 0.2
    return np.minimum(fine * 2**config.n_bits, 2**config.n_bits - 1).astype(np.uint8)


def make_checkpoint(path: Path, *, seed: int, **options: Any) -> Path:
    """Save a model as training might leave it, with 64 images."""
    import torch

    config = GlowConfig(**{"image_size": (8, 8), "levels": 2, "steps": 3, "width": 12, **options})
    torch.manual_seed(seed)
    model = Glow(config)
    pixels = smooth_images(64, config, seed=seed + 1000)
    labels = np.arange(64) % config.num_classes if config.num_classes else None
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith(("bias", "log_scale")) or "prior" in name:
                spread = parameter.std().nan_to_num(0).clamp(min=0.3)
                parameter += 0.1 * spread * torch.randn_like(parameter)
    x = torch.from_numpy((pixels.astype(np.float32) + 0.5) / 2**config.n_bits)
    model.initialize(x, None if labels is None else torch.from_numpy(labels))
    save_checkpoint(model.eval(), path, images=pixels, labels=labels)
    return path


def plant(
    source: Path, target: Path, generator: np.random.Generator, *, kind: str, size: float, roles: tuple[str, ...]
) -> str | None:
    """Copy a bundle with a fault and sign it again; return the weight's name, None where nothing changed.

    Both graphs get the same fault: of a 1x1 the decoder gets the inverse of the encoder's, so that they still agree.
    """
    part, change, _ = KINDS[kind]
    graphs = {role: onnx.load(source / f"{role}.onnx") for role in ("encoder", "decoder")}
    tensors = {role: {t.name: t for t in model.graph.initializer} for role, model in graphs.items()}
    names = [name for name in tensors["encoder"] if part in name and not name.endswith("minus_edge")]
    if kind.startswith("conditioner"):
        names = [name for name in names if name.endswith("/weight")]
    name = str(generator.choice(names))
    seed = int(generator.integers(2**31))
    if "/invconv/" in name and len(roles) == 2:
        changed = _plant_inverse(tensors, name, change, size, seed)
    else:
        changed = False
        for role in roles:
            before = numpy_helper.to_array(tensors[role][name])
            moved = change(before.astype(np.float64), size, np.random.default_rng(seed)).astype(before.dtype)
            changed |= not np.array_equal(before, moved)
            _store(tensors[role][name], moved)
    if not changed:
        return None
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    for role, model in graphs.items():
        data = model.SerializeToString()
        (target / f"{role}.onnx").write_bytes(data)
        manifest["files"][f"{role}.onnx"] = hashlib.sha256(data).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))
    return name


def _plant_inverse(
    tensors: dict[str, dict[str, onnx.TensorProto]], name: str, change: Change, size: float, seed: int
) -> bool:
    """Change the decoder's 1x1, or its bias, and let the encoder's undo it."""
    key = name.rpartition("/")[0]
    mine = {part: numpy_helper.to_array(tensors["decoder"][f"{key}/{part}"]) for part in ("weight", "bias")}
    part = name.rpartition("/")[2]
    moved = dict(mine)
    moved[part] = change(mine[part].astype(np.float64), size, np.random.default_rng(seed))
    matrix = np.linalg.inv(moved["weight"].astype(np.float64)[:, :, 0, 0])
    bias = -matrix @ moved["bias"].astype(np.float64)
    if key.endswith("step01/invconv"):  # the encoder's SpaceToDepth gives its inputs in another order
        channels = matrix.shape[1] // 4
        matrix = matrix[:, [4 * c + offset for offset in range(4) for c in range(channels)]]
    for role, weight, shift in (
        ("decoder", moved["weight"], moved["bias"]),
        ("encoder", matrix[:, :, None, None], bias),
    ):
        for end, array in (("weight", weight), ("bias", shift)):
            _store(tensors[role][f"{key}/{end}"], array.astype(mine[end].dtype))
    return not np.array_equal(mine[part], moved[part].astype(mine[part].dtype))


def _store(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def look(bundle: Path, *, data: str | None = None) -> VerifyReport:
    """Verify without random latents, at the smallest batch sizes."""
    backends = ["onnxruntime-cpu"]
    precision = Bundle.open(bundle).manifest.precision
    if precision != "fp32":
        backends = ["simulated"] if "bf16" in precision else ["onnxruntime-cpu", "simulated"]
    return verify(bundle, settings=VerifySettings(backends=backends, random_draws=0, largest_batch=2, data=data))


def seen_by(report: VerifyReport) -> dict[str, bool]:
    """Backend -> whether its own rows failed."""
    names = [backend.name for backend in report.backends if backend.used]
    return {
        name: not all(
            row.passed
            for row in (
                *(cell for cell in report.cells if cell.encode == cell.decode == name),
                *(row for row in (*report.references, *report.batches) if row.backend == name),
            )
        )
        for name in names
    }


def campaign(sources: dict[tuple[str, str], Path], scratch: Path, *, seconds: float, seed: int) -> Iterator[Fault]:
    """Plant fault after fault, every kind at every size in turn, until the time is over."""
    generator = np.random.default_rng(seed)
    end = time.monotonic() + seconds
    plans = [(kind, size, roles) for kind, (_, _, sizes) in KINDS.items() for size in sizes for roles in ROLES]
    while time.monotonic() < end:
        order = [(source, plan) for source in sources for plan in plans]
        generator.shuffle(order)
        for (model, precision), (kind, size, roles) in order:
            if time.monotonic() > end:
                return
            roles = tuple(str(role) for role in roles)
            size = float(size)
            target = scratch / "spoilt"
            source = sources[str(model), str(precision)]
            weight = plant(source, target, generator, kind=str(kind), size=size, roles=roles)
            if weight is None:
                continue  # the number that the weight is stored in cannot show so small a change
            report = look(target)
            backends = seen_by(report)
            yield Fault(
                model=str(model),
                precision=str(precision),
                kind=str(kind),
                size=size,
                weight=weight,
                roles=roles,
                weights=report.verdicts.weights == "unsound" and not report.sound,
                images=any(backends.values()),
                backends=backends,
            )


def make_sources(folder: Path, args: argparse.Namespace) -> dict[tuple[str, str], Path]:
    """Export every model in every precision."""
    checkpoints = {}
    if args.ckpt is not None:
        checkpoints["given"] = args.ckpt
    else:
        for number, (name, options) in enumerate(MODELS.items()):
            checkpoints[name] = make_checkpoint(folder / f"{number}.pt", seed=number + args.seed, **options)
    sources = {}
    for number, (name, checkpoint) in enumerate(checkpoints.items()):
        for precision in args.precision:
            target = folder / f"{number}-{precision}"
            try:
                export(checkpoint, out=target, settings=ExportSettings(precision=precision))
            except UnsoundModelError as error:
                print(f"{name} in {precision} is left out: {error}", file=sys.stderr)
                continue
            sources[name, precision] = target
    return sources


def controls(sources: dict[tuple[str, str], Path], scratch: Path, *, rounds: int, seed: int) -> list[str]:
    """Verify the sound bundles on fresh images; say which failed."""
    failed = []
    for (name, precision), bundle in sources.items():
        manifest = Bundle.open(bundle).manifest
        config = GlowConfig(**{**manifest.model, "image_size": tuple(manifest.model["image_size"])})
        for index in range(rounds):
            pixels = smooth_images(40, config, seed=seed + 7000 + index) << (8 - config.n_bits)
            arrays = {"images": pixels.transpose(0, 2, 3, 1)}
            if config.num_classes:
                arrays["labels"] = np.arange(40) % config.num_classes
            np.savez(scratch / "fresh.npz", **arrays)
            report = look(bundle, data=str(scratch / "fresh.npz"))
            if not report.sound or report.verdicts.weights != "sound":
                failed.append(f"{name} in {precision}, round {index}: {[str(failure) for failure in report.failures]}")
    return failed


def smallest_seen(faults: list[Fault]) -> dict[tuple[str, str, str], tuple[float | None, int, int]]:
    """(precision, backend, kind) -> size from which on images showed every fault, how many they showed, how many."""
    rows: dict[tuple[str, str, str], list[tuple[float, bool]]] = {}
    for fault in faults:
        for backend, seen in fault.backends.items():
            rows.setdefault((fault.precision, backend, fault.kind), []).append((fault.size, seen))
    found = {}
    for key, values in sorted(rows.items()):
        missed = max((size for size, seen in values if not seen), default=0.0)
        sizes = sorted({size for size, _ in values if size > missed})
        found[key] = (sizes[0] if sizes else None, sum(seen for _, seen in values), len(values))
    return found


def main() -> int:
    """Run the campaign and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to plant faults")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--ckpt", type=Path, default=None, help="a checkpoint with images of its own")
    parser.add_argument("--rounds", type=int, default=3, help="sets of fresh images for each sound bundle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="write every fault there")
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        sources = make_sources(folder, args)
        failed = controls(sources, folder, rounds=args.rounds, seed=args.seed)
        faults = list(campaign(sources, folder, seconds=args.seconds, seed=args.seed))
    hidden = [fault for fault in faults if not fault.weights]
    table = Table(title="Images alone: size from which on every planted fault was seen")
    for column in ("precision", "backend", "fault", "from size", "seen", "planted"):
        table.add_column(column)
    for (precision, backend, kind), (size, seen, planted) in smallest_seen(faults).items():
        table.add_row(precision, backend, kind, "not all" if size is None else f"{size:g}", str(seen), str(planted))
    Console().print(table)
    print(f"{len(faults)} faults planted, {len(hidden)} hidden from the comparison of weights")
    print(f"{len(sources) * args.rounds} runs of sound models, {len(failed)} failed")
    for line in (*map(str, hidden[:5]), *failed[:5]):
        print(f"  {line}")
    if args.json is not None:
        document = {
            "faults": [asdict(fault) for fault in faults],
            "sound_runs": len(sources) * args.rounds,
            "sound_failed": failed,
        }
        args.json.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if hidden or failed or not faults else 0


if __name__ == "__main__":
    sys.exit(main())
