"""The engines that a command runs: those of a bundle, or files given by name.

A command that needs both takes `BUNDLE` first, or `--encoder FILE --decoder FILE` in its place; one that needs one of
them takes `BUNDLE`, or `--engine FILE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from glow_deploy.protocol import Engine

__all__ = [
    "Bundle",
    "Decoder",
    "Encoder",
    "Flavor",
    "FlavorName",
    "OneBundle",
    "OneEngine",
    "both_engines",
    "one_engine",
    "split_bundle",
    "split_engine",
]

_ENGINE_SUFFIXES = (".onnx", ".trt")

Bundle = Annotated[
    Path | None, typer.Argument(metavar="BUNDLE", help="As `export` writes it; or --encoder and --decoder instead.")
]
Encoder = Annotated[
    Path | None, typer.Option("--encoder", metavar="FILE", help="Instead of BUNDLE: its encoder, ONNX or a plan.")
]
Decoder = Annotated[
    Path | None, typer.Option("--decoder", metavar="FILE", help="Instead of BUNDLE: its decoder, ONNX or a plan.")
]
OneBundle = Annotated[
    Path | None, typer.Argument(metavar="BUNDLE", help="As `export` writes it; or --engine FILE instead.")
]
OneEngine = Annotated[
    Path | None,
    typer.Option(
        "--engine", metavar="FILE", help="Instead of BUNDLE: an ONNX file or a TensorRT plan, told by its content."
    ),
]
FlavorName = str

Flavor = Annotated[
    FlavorName,
    typer.Option(
        "--flavor",
        metavar="NAME",
        help="What runs: onnx (the graphs in ONNX Runtime), rtx or tensorrt (the plans that `compile` made), or "
        "openvino-cpu, -gpu, -npu (the graphs in OpenVINO in float32), openvino-cpu-default (in what it likes), "
        "onnxruntime-web (in Chromium), onnxruntime-web-node, or what an installed package brings.",
    ),
]


@contextmanager
def both_engines(
    bundle: Path | None,
    *,
    encoder: Path | None = None,
    decoder: Path | None = None,
    flavor: FlavorName = "onnx",
    device: str = "auto",
    threads: int | None = None,
    trust_engine: bool = False,
) -> Iterator[tuple[Engine, Engine]]:
    """Open both engines for a `with` block; see `glow_deploy.engines.pair.open_pair`, which does the work.

    Yields:
        The encoder and the decoder, known to belong to one model.

    Raises:
        GlowDeployError: as described there.
    """
    from glow_deploy.engines.pair import open_pair

    with open_pair(
        bundle,
        encoder=encoder,
        decoder=decoder,
        flavor=flavor,
        device=device,
        threads=threads,
        trust_engine=trust_engine,
    ) as pair:
        yield pair


def split_bundle(
    arguments: Sequence[Path], *, encoder: Path | None, decoder: Path | None
) -> tuple[Path | None, list[Path]]:
    """Take the bundle off the front of a command's arguments, unless the engines are given by name.

    For commands whose other arguments are pictures: `BUNDLE A B`, or `--encoder FILE --decoder FILE A B`.
    """
    if encoder is not None or decoder is not None or not arguments:
        return None, list(arguments)
    return arguments[0], list(arguments[1:])


def one_engine(
    bundle: Path | None,
    engine: Path | None,
    *,
    role: Literal["encoder", "decoder"],
    flavor: FlavorName,
) -> Path:
    """Name the engine file of a command that needs one: a bundle's, or the one given by name.

    Raises:
        UsageError: neither, or both, or something that is neither a bundle nor an engine.
        GlowDeployError: the bundle has no such engine.
    """
    from glow_deploy.engines.pair import engine_file
    from glow_deploy.errors import UsageError

    if bundle is not None and engine is not None:
        raise UsageError(f"{bundle} brings its own engines; give either a BUNDLE or --engine {engine}")
    place = engine if bundle is None else bundle
    if place is None:
        raise UsageError("name a BUNDLE folder, or an engine with --engine FILE")
    if engine is None and place.exists() and not place.is_dir() and place.suffix not in _ENGINE_SUFFIXES:
        raise UsageError(f"{place} is no bundle; name a BUNDLE folder first, or an engine with --engine FILE")
    return engine_file(place, role=role, flavor=flavor)


def split_engine(arguments: Sequence[Path], *, engine: Path | None) -> tuple[Path | None, list[Path]]:
    """Take the bundle off the front of a command's arguments, unless the engine is given by name."""
    if engine is not None or not arguments:
        return None, list(arguments)
    return arguments[0], list(arguments[1:])
