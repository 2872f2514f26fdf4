"""Making the files of a site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.files import sha256_bytes
from glow_deploy.artifact.golden import Golden
from glow_deploy.artifact.manifest import DECODER, ENCODER
from glow_deploy.artifact.signature import EXACT
from glow_deploy.directions.directions import Directions
from glow_deploy.directions.files import load_directions
from glow_deploy.directions.soundness import Soundness
from glow_deploy.engines.web_runtime import LICENSE, RUNTIME_VERSION, WASM, WEBGPU, RuntimeFile, web_runtime
from glow_deploy.errors import UsageError
from glow_deploy.explore.answers import describe_bundle, name_of
from glow_deploy.explore.familiarity import golden_range
from glow_deploy.images import png_bytes, x_to_values
from glow_deploy.latents.specs import latent_specs
from glow_deploy.page import INDEX, page_files
from glow_deploy.progress import StageProgress
from glow_deploy.protocol import TensorSpec
from glow_deploy.settings import settings_of

from .checks import Checks, check_images
from .cost import WeightCost, measure_weights
from .graphs import WEIGHTS, web_graphs
from .settings import WebOptions, WebSettings, need_text
from .writing import check_target, write_site

__all__ = ["POLICY", "Site", "build_site"]

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""What the page and its worker may load: their own files and pictures out of answers; they may compile WebAssembly.

The worker comes out of a blob, and so under this policy: one that comes from an address would be under none. What it
imports counts as a worker's source.
"""

_SITE = "site.json"
_RUNTIME = "runtime"
_DIRECTIONS = "directions.bin"
_CHECK = "check"
_MAX_UPLOAD = 32 << 20
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True, kw_only=True, repr=False)
class Site:
    """A site that was written.

    Attributes:
        path: the folder.
        files: bytes of every file, by its name in the folder.
        wasm: bytes that a visitor loads before the first picture, in WebAssembly.
        webgpu: likewise on WebGPU; None where it was left out.
        model: of them, bytes of graphs and weights.
        cost: what rounded weights do to the model, where they are rounded and the bundle has golden images.
        golden: golden images in it, which every visitor can load.
        golden_source: where the bundle has them from: `data`, `checkpoint`, `samples`, or None.
    """

    path: Path
    files: Mapping[str, int]
    wasm: int
    webgpu: int | None
    model: int
    cost: WeightCost | None
    golden: int
    golden_source: str | None

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def __repr__(self) -> str:
        return f"Site({str(self.path)!r}: {len(self.files)} files, {self.total:,} bytes)"


def build_site(
    bundle: str | Path,
    *,
    out: str | Path,
    settings: WebSettings | None = None,
    progress: StageProgress | None = None,
    **options: Unpack[WebOptions],
) -> Site:
    """Write a folder of static files that any server can hand out, and that runs a bundle in the visitor's browser.

    Args:
        bundle: the folder that `export` wrote.
        out: the folder to write; files in it that are no site's stay.
        settings: how to make it; None for the defaults. Or the same as keyword arguments.
        progress: called with (stage, done, total).
        **options: the fields of `WebSettings`.

    Raises:
        UsageError: `out` holds something that is no site, or is there already and `force` is off; an option is out of
            range; or what `runtime` names is not the package.
        BundleError: the bundle is damaged, or its weights cannot be rounded.
        DataError: the directions are not of this model.
        UnsoundModelError: the model does not encode and decode its own samples to finite values.
        MissingDependencyError: onnxruntime-web is not there and cannot be fetched; or there is no ONNX Runtime, which
            says what a browser has to compute.
    """
    settings = settings_of(settings, options, WebSettings, caller="build_site", others=("out", "progress"))
    report: StageProgress = progress or (lambda stage, done, total: None)
    target = Path(out)
    check_target(target, force=settings.force)

    def make(opened: Bundle) -> tuple[dict[str, bytes], dict[str, Any], WeightCost | None]:
        found = _files(opened, settings, report)
        opened.check_unchanged()
        return found

    files, described, cost = while_unchanged(bundle, make)
    report("writing the site", 0, None)
    write_site(target, files, force=settings.force)
    sizes = {name: len(data) for name, data in files.items()}
    runtimes = described["runtimes"]
    model = sum(sizes.get(name, 0) for name in (ENCODER, DECODER, WEIGHTS))
    apart = (ENCODER, DECODER, WEIGHTS)
    page = sum(
        size for name, size in sizes.items() if name not in apart and ("/" not in name or name.startswith(f"{_CHECK}/"))
    )
    return Site(
        path=target,
        files=sizes,
        wasm=page + model + runtimes["wasm"]["bytes"],
        webgpu=None if runtimes["webgpu"] is None else page + model + runtimes["webgpu"]["bytes"],
        model=model,
        cost=cost,
        golden=described["model"]["golden"],
        golden_source=described["model"]["golden_source"],
    )


def _files(
    bundle: Bundle, settings: WebSettings, report: StageProgress
) -> tuple[dict[str, bytes], dict[str, Any], WeightCost | None]:
    manifest = bundle.manifest
    if manifest.precision == EXACT:
        raise UsageError(
            f"{bundle.path} holds exact graphs, whose latents are integers: a page cannot show them; export the "
            "model with precision=fp32 for that"
        )
    if manifest.precision == "bf16-mixed":
        raise UsageError(
            f"{bundle.path} holds bfloat16 convolutions, which onnxruntime-web does not compute: export with "
            "precision=fp32, and make the site with weights=float16 if it is to be small"
        )
    need_text(name_of(bundle.path), "the bundle's folder is", remedy="rename it")
    if settings.directions is not None:
        need_text(settings.directions.name, "the file of directions is", remedy="rename it")
    golden = bundle.golden()
    shown = 0 if golden is None else min(settings.golden, len(golden))
    rounded = settings.weights == "float16"
    report("the weights", 0, None)
    graphs = web_graphs(bundle.read(ENCODER), bundle.read(DECODER), weights=settings.weights)
    report("what a browser has to compute", 0, None)
    checks = check_images(bundle, rounded=rounded)
    cost = None
    if rounded and golden is not None:
        report("what rounding the weights costs", 0, None)
        cost = measure_weights(bundle, golden)
    directions = _directions(bundle, settings)
    report(f"onnxruntime-web {RUNTIME_VERSION}", 0, None)
    wanted = (*WASM, *WEBGPU) if settings.webgpu else WASM
    runtime = web_runtime(settings.runtime, files=wanted)

    files = {**page_files(), **_scripts(), ENCODER: graphs.encoder, DECODER: graphs.decoder}
    if graphs.weights:
        files[WEIGHTS] = graphs.weights
    files |= {f"{_RUNTIME}/{name}": data for name, data in runtime.items()}
    files[f"{_RUNTIME}/LICENSE.txt"] = LICENSE.encode()
    vectors = b"" if directions is None else _vectors(directions)
    if vectors:
        files[_DIRECTIONS] = vectors
    if golden is not None:
        files |= {f"golden/{i}.png": png_bytes(x_to_values(golden.x[i], manifest.n_bits)) for i in range(shown)}
    files |= {f"{_CHECK}/{i}.png": png_bytes(values) for i, values in enumerate(checks.values)}
    described = _describe(bundle, settings, files, golden=golden, shown=shown, directions=directions, checks=checks)
    files[_SITE] = json.dumps(described, ensure_ascii=False, indent=1, allow_nan=False).encode()
    files[INDEX] = _index(files[INDEX])
    return files, described, cost


def _describe(
    bundle: Bundle,
    settings: WebSettings,
    files: Mapping[str, bytes],
    *,
    golden: Golden | None,
    shown: int,
    directions: Directions | None,
    checks: Checks,
) -> dict[str, Any]:
    """What the scripts need to know: see engine.js and flow.js."""
    manifest = bundle.manifest
    model = describe_bundle(
        bundle,
        golden=shown,
        familiar=golden_range(bundle, golden),
        directions=directions,
        max_upload=_MAX_UPLOAD,
    )
    if settings.title is not None:
        model["name"] = settings.title
    if directions is not None and settings.directions is not None:
        model["directions"]["file"] = settings.directions.name
    rounded = settings.weights == "float16"
    return {
        "model": model,
        "bundle": name_of(bundle.path),
        "precision": manifest.precision + (", weights in 16 bit" if rounded else ""),
        "encoder": _file(ENCODER, files),
        "decoder": _file(DECODER, files),
        "weights": {"name": WEIGHTS, **_file(WEIGHTS, files)} if WEIGHTS in files else None,
        "directions": _file(_DIRECTIONS, files) if _DIRECTIONS in files else None,
        "runtimes": {"wasm": _runtime(WASM, files), "webgpu": _runtime(WEBGPU, files) if settings.webgpu else None},
        "soundness": asdict(Soundness() if directions is None else directions.soundness),
        "golden": [{"label": None if golden is None or golden.y is None else int(golden.y[i])} for i in range(shown)],
        "check": {
            "images": [
                {
                    "label": None if checks.labels is None else int(checks.labels[i]),
                    "bits_per_dim_centre": float(checks.bits[i]),
                }
                for i in range(len(checks))
            ],
            "limits": {"bits": checks.bits_limit, "lost": checks.lost_limit},
        },
        "draws": settings.draws,
        "seed": settings.seed,
        "upload": {"bytes": _MAX_UPLOAD, "pixels": _MAX_PIXELS},
    }


def _file(name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """A file's address, which changes with its content, so that no browser mixes two sites; and its bytes."""
    return {"address": f"{name}?{sha256_bytes(files[name])[:12]}", "bytes": len(files[name])}


def _runtime(parts: tuple[RuntimeFile, RuntimeFile], files: Mapping[str, bytes]) -> dict[str, Any]:
    script, binary = (f"{_RUNTIME}/{part.name}" for part in parts)
    return {
        "module": f"./{script}",
        "binary": _file(binary, files),
        "bytes": len(files[script]) + len(files[binary]),
    }


def _directions(bundle: Bundle, settings: WebSettings) -> Directions | None:
    if settings.directions is None:
        return None
    shapes = enumerate(bundle.manifest.latent_shapes, start=1)
    inputs = [TensorSpec(name=f"z{level}", dtype="float32", shape=tuple(shape)) for level, shape in shapes]
    return load_directions(settings.directions, latent_specs(inputs), model_id=bundle.manifest.model_id)


def _vectors(directions: Directions) -> bytes:
    """Every attribute's vector, all levels one after another, float32."""
    return b"".join(
        np.ascontiguousarray(level, dtype="<f4").tobytes() for one in directions.attributes for level in one.vectors
    )


def _scripts() -> dict[str, bytes]:
    folder = resources.files(__package__).joinpath("page")
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".js")}


def _index(page: bytes) -> bytes:
    """The page with its policy, which here no server's header says, and with the name of this command."""
    head, rest = page.decode().split('<meta charset="utf-8">\n', 1)
    policy = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    return (head + policy + rest.replace("glow-deploy explore", "glow-deploy web")).encode()
