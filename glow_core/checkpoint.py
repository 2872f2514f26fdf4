"""Native checkpoints: `ckpt.pt` with everything training needs, `model.safetensors` with the weights alone.

Reading never runs code from the file: `torch.load(weights_only=True)` always, and what comes out is checked against the
model it says it is (exact keys, shapes, dtypes, finite values, true permutations) before anything else happens.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import GlowConfig, Weights
from .digest import as_written, digest, without_digest
from .errors import CheckpointError, ConfigError
from .import_options import ImportOptions
from .model import Glow
from .state import check_state, is_plain, key_name, load_pt, reference_state
from .temporaries import create_new, left_by_the_dead, temporary_name

__all__ = [
    "Checkpoint",
    "Origin",
    "check_content",
    "check_safetensors",
    "is_native",
    "load_safetensors",
    "looks_like_safetensors",
    "read_native",
    "save_checkpoint",
]

FORMAT = "glow-deploy-checkpoint"
FORMAT_VERSION = 1
_HEADER = {"format", "format_version", "config", "origin", "digest"}  # of a safetensors file

# Far beyond what any reader says, and little to print.
_MAX_PROJECT = 200
_MAX_NOTES = 100
_MAX_NOTE = 2000


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where weights that another project trained came from.

    Attributes:
        project: whose code wrote the file, such as `rosinality/glow-pytorch`.
        options: what had to be told to read it, as `ImportOptions.to_dict` gives it.
        notes: what was taken for granted or left out, one sentence each.
        converted: the file at hand is this tool's own, written from that one.
    """

    project: str
    options: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    converted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what a converted checkpoint says of its source, as plain values."""
        return {"project": self.project, "options": dict(self.options), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Any) -> Origin:
        """Read what a converted checkpoint says of its source.

        Args:
            values: what `to_dict` gave; untrusted.

        Raises:
            ConfigError: an entry is missing, unknown or malformed.
        """
        if not isinstance(values, Mapping) or set(values) != {"project", "options", "notes"}:
            raise ConfigError("what it says of its origin must hold project, options and notes")
        project, options, notes = values["project"], values["options"], values["notes"]
        if not _is_line(project, _MAX_PROJECT):
            raise ConfigError("the project that it names as its origin is not a line of text")
        if (
            not isinstance(notes, list)
            or len(notes) > _MAX_NOTES
            or not all(_is_line(note, _MAX_NOTE) for note in notes)
        ):
            raise ConfigError("the notes on its origin are not lines of text")
        try:
            if not isinstance(options, dict) or not all(type(value) in (int, str, list) for value in options.values()):
                raise TypeError
            told = ImportOptions.from_dict(options)
        except (ConfigError, TypeError, ValueError) as error:
            # Not in the error's own words, which may be as long as the values.
            raise ConfigError("the options that it says its origin was read with are none") from error
        return cls(project=project, options=told.to_dict(), notes=tuple(notes), converted=True)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds, already checked.

    Attributes:
        config: the model's description.
        model: state dictionary of the weights as trained, float32 on the CPU.
        ema: the same for the exponential moving average of the weights, or None.
        training: the training state (optimiser, counters, random states), or None.
        images: a few images of the validation set as n_bits-deep pixels, uint8 [n,C,H,W], or None.
        labels: their class labels, int64 [n], or None.
        origin: of another project's checkpoint, or of one that was converted from it; None for a model trained here.
    """

    config: GlowConfig
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor] | None = None
    training: Mapping[str, Any] | None = None
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    origin: Origin | None = None

    def glow(self, *, weights: Weights = "ema") -> Glow:
        """Build the model in evaluation mode; `ema` falls back to the raw weights where there is no average.

        The model shares its tensors with this object: a full-size model is not copied.
        """
        with torch.device("meta"):
            glow = Glow(self.config)
        state = self.ema if weights == "ema" and self.ema is not None else self.model
        glow.load_state_dict(dict(state), assign=True)
        return glow.eval()


def save_checkpoint(
    model: Glow,
    path: str | Path,
    *,
    ema: Mapping[str, Tensor] | None = None,
    training: Mapping[str, Any] | None = None,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    origin: Origin | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        model: the Glow; stored as float32 on the CPU.
        path: `*.safetensors` holds the weights alone (averaged, where `ema` is given); any other name everything.
        ema: state dictionary of averaged weights, with the model's own keys.
        training: tensors, numbers, strings and containers of them, whatever `weights_only=True` reads back.
        images: uint8 [n,C,H,W], n_bits-deep pixels, to be used as golden images at export.
        labels: int64 [n], for class-conditional models.
        origin: of weights that were converted, to be remembered.

    Raises:
        CheckpointError: the file cannot be written; an earlier file of that name is untouched.
    """
    path = Path(path)
    state = _storable(model.state_dict())
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        header = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "config": json.dumps(model.config.to_dict())}
        if origin is not None:
            header["origin"] = json.dumps(origin.to_dict())
        weights = state if ema is None else _storable(ema)
        total = digest({"header": header, "tensors": weights})
        assert total is not None
        header["digest"] = total
        # Not save_file, which makes the file readable by its owner alone.
        data = save(weights, metadata=header)
        _replace(path, lambda temporary: temporary.write_bytes(data))
        return
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": model.config.to_dict(),
        "model": state,
        "ema": None if ema is None else _storable(ema),
        "training": None if training is None else dict(training),
        "images": None if images is None else torch.from_numpy(np.ascontiguousarray(images, dtype=np.uint8)),
        "labels": None if labels is None else torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64)),
    }
    if origin is not None:
        content["origin"] = origin.to_dict()
    total = digest(content)
    if total is not None:
        content["digest"] = total
    _replace(path, lambda temporary: torch.save(content, temporary))


def is_native(content: Any) -> bool:
    """Whether what was read from a file, or the header of one of safetensors, carries this tool's mark."""
    return isinstance(content, Mapping) and content.get("format") == FORMAT


def read_native(path: str | Path) -> Checkpoint:
    """Read and check everything that one of this tool's own checkpoints holds.

    Args:
        path: written by `save_checkpoint`.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or its tensors are not those of the model it
            describes (keys, shapes, dtypes, finite values, permutations that are some).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    with torch.device("cpu"):  # whatever the caller's default device is
        if looks_like_safetensors(path):
            return check_safetensors(path, *load_safetensors(path))
        return check_content(path, load_pt(path, mmap=False))


def check_content(path: Path, content: Any) -> Checkpoint:
    """Check what was read from a torch file of this tool's; errors as for `read_native`."""
    if not is_native(content):
        raise CheckpointError(
            f"{path}: not a checkpoint of this tool (no '{FORMAT}' mark in it); "
            "`glow-deploy convert` makes one of another project's"
        )
    version = content.get("format_version")
    if not isinstance(version, int) or version != FORMAT_VERSION:
        known = isinstance(version, int) and 0 <= version < 1000
        found = f"format {version}" if known else "of an unknown format"
        raise CheckpointError(f"{path}: checkpoint {found}; this release reads {FORMAT_VERSION}")
    with as_written(path, content, content.get("digest")):
        return _checked_content(path, content)


def _checked_content(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    config = _read_config(path, content.get("config"))
    reference = reference_state(path, config, content.get("model"))
    model = check_state(path, content.get("model"), reference, part="model")
    ema = content.get("ema")
    training = content.get("training")
    if training is not None and not isinstance(training, dict):
        raise CheckpointError(f"{path}: the training state is a {type(training).__name__}, not a dictionary")
    images, labels = _read_images(path, config, content.get("images"), content.get("labels"))
    return Checkpoint(
        config=config,
        model=model,
        ema=None if ema is None else check_state(path, ema, reference, part="ema"),
        training=training,
        images=images,
        labels=labels,
        origin=_read_origin(path, content.get("origin")),
    )


def _storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors on the CPU, floats as float32."""
    return {
        name: tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in state.items()
    }


def _replace(path: Path, write: Any) -> None:
    # A crash at any moment leaves the previous file or the new one: temporary file beside it, flushed, then renamed.
    temporary, ours = path.with_name(temporary_name(path.name)), True
    for left in left_by_the_dead(path):
        with suppress(OSError):
            left.unlink()
    try:
        create_new(temporary)
        write(temporary)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except FileExistsError as error:
        ours = False
        raise CheckpointError(f"cannot write {path}: {temporary.name} is in the way; remove it") from error
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"cannot write {path}: {_reason(error, temporary)}") from error
    finally:
        if ours:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _reason(error: OSError | RuntimeError, temporary: Path) -> str:
    """Why a file could not be written. torch reports a full disk as a RuntimeError about positions."""
    found: Exception = error
    if isinstance(error, RuntimeError):
        try:
            with temporary.open("ab") as handle:
                handle.write(bytes(1 << 20))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as trouble:
            found = trouble
    words = getattr(found, "strerror", None) or str(found).splitlines()[0]
    full = isinstance(found, OSError) and found.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
    return f"{words}; make room there, or choose another place" if full else str(words)


def looks_like_safetensors(path: Path) -> bool:
    """Tell a safetensors file by its first bytes."""
    # 8 bytes of header length, then JSON; a torch file is a zip ("PK") or an old pickle.
    try:
        with path.open("rb") as handle:
            return handle.read(9)[8:] == b"{"
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def load_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read the words in the header of a safetensors file, and its tensors.

    Raises:
        CheckpointError: not such a file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            header = handle.metadata() or {}
            return header, {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({str(error).splitlines()[0]})") from error


def check_safetensors(path: Path, header: Mapping[str, str], state: Mapping[str, Tensor]) -> Checkpoint:
    """Check what was read from a `model.safetensors` of this tool's; errors as for `read_native`."""
    if not is_native(header) or "config" not in header:
        raise CheckpointError(f"{path}: a safetensors file without this tool's model config in its header")
    if header.get("format_version") != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: checkpoint format {header.get('format_version')!r}; this release reads {FORMAT_VERSION}"
        )
    # A digest whose name is damaged would not be looked for.
    if unknown := sorted(set(header) - _HEADER):
        raise CheckpointError(
            f"{path}: its header holds {key_name(unknown[0])}, which this release does not write: the file is damaged, "
            "or of a newer release"
        )
    with as_written(path, {"header": without_digest(header), "tensors": dict(state)}, header.get("digest")):
        config = _read_config(path, _json(path, header["config"], "the model config"))
        origin = _read_origin(path, _json(path, header["origin"], "its origin") if "origin" in header else None)
        reference = reference_state(path, config, state)
        return Checkpoint(config=config, model=check_state(path, state, reference, part="model"), origin=origin)


def _json(path: Path, text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {what} in the header is not JSON") from error


def _read_config(path: Path, values: Any) -> GlowConfig:
    try:
        return GlowConfig.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_origin(path: Path, values: Any) -> Origin | None:
    try:
        return None if values is None else Origin.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _is_line(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def _read_images(
    path: Path, config: GlowConfig, images: Any, labels: Any
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if images is None:
        return None, None
    shape = (config.channels, *config.image_size)
    wanted = f"uint8 [n, {shape[0]}, {shape[1]}, {shape[2]}]"
    if not is_plain(images) or images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
        raise CheckpointError(f"{path}: its validation images are not {wanted}")
    if images.numel() and int(images.max()) >= 2**config.n_bits:
        raise CheckpointError(f"{path}: its validation images hold pixels beyond {config.n_bits} bits")
    if labels is None:
        return images.numpy(), None
    if not is_plain(labels) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise CheckpointError(f"{path}: the labels of its validation images are not int64 of shape [n]")
    return images.numpy(), labels.numpy()
