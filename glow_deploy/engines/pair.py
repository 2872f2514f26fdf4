"""An encoder and a decoder of one model, opened together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from glow_deploy.arguments import as_path
from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.flavors import PairFlavor, as_flavor, engine_files, graph_backend
from glow_deploy.artifact.identity import engine_model_id
from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.errors import BundleError, EngineError, UsageError
from glow_deploy.protocol import Engine, Role, TensorSpec

from .open import open_engine

__all__ = ["engine_file", "open_pair", "pair_files"]


@contextmanager
def open_pair(
    bundle: str | Path | None = None,
    *,
    encoder: str | Path | None = None,
    decoder: str | Path | None = None,
    flavor: PairFlavor = "onnx",
    device: str = "auto",
    threads: int | None = None,
    trust_engine: bool = False,
    signed: SignedFiles | None = None,
) -> Iterator[tuple[Engine, Engine]]:
    """Open both engines of a model for a `with` block; they are closed at its end.

    Args:
        bundle: the folder that `export` wrote; or None, and the two files by name.
        encoder: instead of a bundle: its encoder, an ONNX file or a plan.
        decoder: instead of a bundle: its decoder.
        flavor: which engines of the bundle; a file given by name tells its own kind. `openvino-cpu` and its like run
            ONNX graphs, of a bundle or given by name, in OpenVINO.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads for ONNX Runtime or OpenVINO; None leaves the choice to it.
        trust_engine: run plans without a matching sidecar.
        signed: of a signature of the bundle that was checked, which must cover everything that is read.

    Yields:
        The encoder and the decoder.

    Raises:
        UsageError: neither a bundle nor both files, or both ways at once; or the two are given the wrong way round.
        BundleError: a file is missing or damaged, or the two belong to different models.
        SignatureError: a file is not what was signed.
        EngineError: not an engine file, or the backend refuses it.
        MissingDependencyError: the device asked for, or the package a plan needs, is not there.
    """
    files = pair_files(bundle, encoder=encoder, decoder=decoder, flavor=flavor)
    start = partial(
        open_engine,
        backend=graph_backend(flavor),
        device=device,
        threads=threads,
        trust_engine=trust_engine,
        signed=signed,
    )

    def enter(opened: Bundle | None = None) -> tuple[ExitStack, tuple[Engine, Engine]]:
        with ExitStack() as stack:
            try:
                engines = _open_both(stack, files, start, signed)
            finally:
                if opened is not None:  # both are of one export, and what is wrong is wrong with that one
                    opened.check_unchanged()
            return stack.pop_all(), engines

    held, engines = enter() if bundle is None else while_unchanged(bundle, enter, signed=signed)
    with held:
        yield engines


def _open_both(
    stack: ExitStack, files: tuple[Path, Path], start: Callable[[Path], Engine], signed: SignedFiles | None
) -> tuple[Engine, Engine]:
    first, second = files
    encoder = stack.enter_context(start(first))
    _need_role(first, encoder, "encoder")
    decoder = stack.enter_context(start(second))
    _need_role(second, decoder, "decoder")
    _need_one_model(first, encoder, second, decoder, signed)
    return encoder, decoder


def pair_files(
    bundle: str | Path | None,
    *,
    encoder: str | Path | None = None,
    decoder: str | Path | None = None,
    flavor: PairFlavor = "onnx",
) -> tuple[Path, Path]:
    """Name the two files that `open_pair` opens.

    Raises:
        UsageError: neither a bundle nor both files, or both ways at once, or a flavour of files that tell their own.
        BundleError: no such bundle.
        EngineError: the bundle has no plans of that flavour.
    """
    flavor = as_flavor("flavor", flavor)
    if bundle is None:
        if encoder is None or decoder is None:
            raise UsageError("name a bundle folder, or both files with encoder= and decoder=")
        if not _of_graphs(flavor):
            raise UsageError("flavor= chooses among the engines of a bundle; files named one by one tell their kind")
        return as_path("encoder", encoder), as_path("decoder", decoder)
    if encoder is not None or decoder is not None:
        raise UsageError(f"{bundle} brings its own engines; give either a bundle, or encoder= and decoder=")
    folder = Bundle.open(bundle).path
    first, second = (_in_bundle(folder, name, flavor) for name in engine_files(flavor))
    return first, second


def _of_graphs(flavor: PairFlavor) -> bool:
    """Tell flavours that say what runs ONNX graphs, not which files."""
    return flavor == "onnx" or graph_backend(flavor) != "auto"


def _in_bundle(folder: Path, name: str, flavor: PairFlavor) -> Path:
    """Name an engine of a bundle; a plan must have been compiled."""
    path = folder / name
    if not _of_graphs(flavor) and not path.is_file():
        raise EngineError(f"{path} does not exist: `glow-deploy compile {folder} --flavor {flavor}` makes it")
    return path


def engine_file(place: str | Path, *, role: Role, flavor: PairFlavor = "onnx") -> Path:
    """Name the file of one engine: of a bundle's, or the file itself.

    Args:
        place: a bundle, or an engine file.
        role: which engine of a bundle.
        flavor: which kind of engine of a bundle; a file tells its own kind.

    Raises:
        UsageError: a flavour for a file.
        BundleError: a folder that is no bundle.
        EngineError: the bundle has no plans of that flavour.
    """
    place, flavor = as_path("place", place), as_flavor("flavor", flavor)
    if place.is_dir():
        folder = Bundle.open(place).path
        return _in_bundle(folder, engine_files(flavor)[0 if role == "encoder" else 1], flavor)
    if not _of_graphs(flavor):
        raise UsageError(f"flavor= chooses among the engines of a bundle; {place} is a file and tells its own kind")
    return place


def _need_role(path: Path, engine: Engine, role: Role) -> None:
    if engine.role != role:
        raise UsageError(f"{path} is the {engine.role}, the {role} is needed here; were the two swapped?")


def _need_one_model(first: Path, encoder: Engine, second: Path, decoder: Engine, signed: SignedFiles | None) -> None:
    facts = (encoder.n_bits, encoder.num_classes, _shapes(encoder.outputs))
    fits = facts == (decoder.n_bits, decoder.num_classes, _shapes(decoder.inputs))
    ids = engine_model_id(first, signed=signed), engine_model_id(second, signed=signed)
    # A plan that is trusted without a sidecar does not say whose it is; then the shapes are all there is to compare.
    if not fits or (None not in ids and ids[0] != ids[1]):
        raise BundleError(f"{first} and {second} belong to different models; give both files of one bundle")


def _shapes(specs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    return {spec.name: spec.shape for spec in specs if spec.name[:1] == "z"}
