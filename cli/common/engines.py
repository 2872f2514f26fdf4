"""The encoder and the decoder of one model, for the commands that need both.

Such a command takes `BUNDLE` first, or `--encoder FILE --decoder FILE` in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from glow_deploy.protocol import Engine

__all__ = ["Bundle", "Decoder", "Encoder", "Flavor", "open_pair", "split_bundle"]

Bundle = Annotated[
    Path | None, typer.Argument(metavar="BUNDLE", help="As `export` writes it; or --encoder and --decoder instead.")
]
Encoder = Annotated[
    Path | None, typer.Option("--encoder", metavar="FILE", help="Instead of BUNDLE: its encoder, ONNX or a plan.")
]
Decoder = Annotated[
    Path | None, typer.Option("--decoder", metavar="FILE", help="Instead of BUNDLE: its decoder, ONNX or a plan.")
]
Flavor = Annotated[
    Literal["onnx", "rtx", "tensorrt"],
    typer.Option("--flavor", help="Which engines of BUNDLE: the ONNX graphs, or the plans that `compile` made."),
]


@contextmanager
def open_pair(
    bundle: Path | None,
    *,
    encoder: Path | None = None,
    decoder: Path | None = None,
    flavor: Literal["onnx", "rtx", "tensorrt"] = "onnx",
    device: str = "auto",
    trust_engine: bool = False,
) -> Iterator[tuple[Engine, Engine]]:
    """Open both engines for a `with` block; see `glow_deploy.engines.pair.open_pair`, which does the work.

    Yields:
        The encoder and the decoder, known to belong to one model.

    Raises:
        GlowDeployError: as described there.
    """
    from glow_deploy.engines.pair import open_pair as open_both

    with open_both(
        bundle, encoder=encoder, decoder=decoder, flavor=flavor, device=device, trust_engine=trust_engine
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
