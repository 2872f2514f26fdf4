"""What a bulk run is refused for before any work, and what its engines say about its sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from glow_core.locks import LOCK_NAME
from glow_core.temporaries import is_temporary
from glow_deploy.arguments import as_path
from glow_deploy.artifact.folders import check_writable
from glow_deploy.artifact.identity import engine_facts
from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.engines.pair import engine_file, pair_files
from glow_deploy.errors import BundleError, DataError, UsageError
from glow_deploy.protocol import TensorSpec

from .plan import PLAN
from .settings import Action, BulkSettings, Where

__all__ = ["check_directions", "check_folder", "facts_of", "files_of", "rows_of_a_shard"]

_SHARD_BYTES = 256 << 20
_MOST_SHARD_ROWS = 4096
_SCORE_BYTES = 128  # of a row of scores


def files_of(action: Action, model: Path, directions: str | Path | None, where: Where) -> dict[str, Path]:
    """The files that decide the result, by what they are.

    Raises:
        UsageError: directions are missing or for another action, or the model is no bundle where one is needed.
    """
    if action != "edit":
        if directions is not None:
            raise UsageError(f"directions= are for edit, not for {action}")
        role = "decoder" if action == "sample" else "encoder"
        return {role: engine_file(model, role=role, flavor=where.flavor)}  # type: ignore[arg-type]  # it is a role
    if directions is None:
        raise UsageError("name a file of directions: directions=")
    if not model.is_dir():
        raise UsageError(f"{model} is no bundle; editing needs both engines of one")
    encoder, decoder = pair_files(model, flavor=where.flavor)
    return {"encoder": encoder, "decoder": decoder, "directions": as_path("directions", directions)}


def facts_of(action: Action, files: Mapping[str, Path], settings: BulkSettings) -> GraphMetadata | None:
    """What the engine says about itself, checked against the options before anything is made.

    Raises:
        BundleError: an engine is not there.
        DataError: the directions are not there, or a class is none of the model's.
        UsageError: an engine of the other role, or options that do not fit the model.
    """
    role = "decoder" if action == "sample" else "encoder"
    for name, path in files.items():
        if not path.is_file():
            raise (DataError if name == "directions" else BundleError)(f"{path}: no such file")
    facts = engine_facts(files[role])
    if facts is None:
        return None
    if facts.role != role:
        raise UsageError(f"{files[role]} is the {facts.role}; {action} needs the {role}")
    if facts.num_classes is None and (settings.labels is not None or settings.best_class):
        raise UsageError("this model is not class-conditional: leave labels= out")
    if facts.num_classes is not None and settings.labels is None and not settings.best_class:
        raise UsageError(f"this model is class-conditional: say which class (labels=), 0 to {facts.num_classes - 1}")
    wrong = [label for label in settings.labels or () if label >= (facts.num_classes or 0)]
    if wrong:
        raise DataError(f"there is no class {wrong[0]}: this model knows 0 to {(facts.num_classes or 1) - 1}")
    if isinstance(settings.temperature, tuple) and len(settings.temperature) not in (1, facts.levels):
        raise UsageError(f"{len(settings.temperature)} temperatures were given for {facts.levels} levels")
    return facts


def check_directions(files: Mapping[str, Path], facts: GraphMetadata | None, settings: BulkSettings) -> None:
    """Refuse directions of another model, and attributes that they lack, before the inputs are read.

    Raises:
        DataError: they are damaged, or of another model.
        UsageError: an attribute has no direction, or an amount is no number.
    """
    if "directions" not in files or facts is None:
        return
    from glow_deploy.directions.editing import check_edits
    from glow_deploy.directions.files import load_directions

    shapes = enumerate(facts.latent_shapes, start=1)
    specs = [TensorSpec(name=f"z{level}", dtype="float32", shape=shape) for level, shape in shapes]
    check_edits(load_directions(files["directions"], specs, model_id=facts.model_id), [settings.attributes])


def rows_of_a_shard(action: Action, settings: BulkSettings, facts: GraphMetadata | None) -> int:
    """Rows of a shard of at most 256 MiB, or of one row: whole batches, where it holds one.

    Raises:
        UsageError: the engine does not tell its sizes.
    """
    if facts is None:
        raise UsageError("the plan does not tell its sizes, as it has no sidecar; give shard_rows=")
    dims = math.prod(facts.image_size) * facts.channels
    size = {"encode": 4 * dims, "score": _SCORE_BYTES, "sample": dims, "edit": dims}[action]
    rows = max(1, min(_MOST_SHARD_ROWS, _SHARD_BYTES // size))
    return rows // settings.batch * settings.batch or rows


def check_folder(folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse a place that holds something else.

    Raises:
        UsageError: it is a file, lies in an input, cannot be written, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file where a folder is to be written; choose another out=")
    place = folder.resolve()
    around = [path for path in inputs if path.resolve() in (place, *place.parents)]
    if around:
        raise UsageError(f"{folder} lies in the input {around[0]}, which must stay as it is; choose another out=")
    check_writable(folder)
    if folder.is_dir() and not (folder / PLAN).exists():
        others = sorted(path.name for path in folder.iterdir() if path.name != LOCK_NAME and not is_temporary(path))
        if others:
            raise UsageError(f"{folder} holds {others[0]} and no {PLAN} of a bulk run; choose another out=")
