"""What another program saved, read as files that nobody vouches for and held to the shapes of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import DataError, UsageError
from glow_deploy.numerics.gates import VerdictName
from glow_deploy.printable import shown

from .echoes import PICTURES, refuse_echoes
from .files import Found, find_outputs
from .inputs import golden_inputs
from .npy import check_floats
from .tensors import CANARY_OUTPUT, expected_outputs

__all__ = ["SavedOutputs", "parse_renames", "read_outputs"]

_RANGED = ("encoder", "decoder", "round_trip")
"""Sets of an exact bundle that say which images are in range."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedOutputs:
    """What a program made of the first N golden images, as far as it was saved; arrays of any float type.

    Attributes:
        path: where it was read.
        images: N; 0 where there is the canary alone.
        z: latents of the images, z1 first, [N, C, H, W] each, as standard normal numbers; None where they were not
            saved.
        log_prob: nats [N].
        decoded: the trained model's latents, decoded [N, C, H, W].
        returned: its own latents, decoded by itself, likewise.
        again_z: latents of `returned`.
        again_log_prob: nats of `returned` [N].
        canary: the canary's result.
        tools: what wrote JSON: `Polygraphy`, which keeps every bit, or `trtexec`, which keeps six digits.
        vouched: the file names the inputs and graphs that it belongs to, and they are these.
        ignored: names of what was passed over, as it is no output of ours.
        integers: of an exact bundle: the images' latents as integers, [N, C, H, W] each.
        of_integers: of an exact bundle: what the integers that were fed decode to, [N, C, H, W].
        in_range: of an exact bundle: by `encoder`, `decoder` and `round_trip`, as far as saved, [N].
        exact: it is of such a bundle.
    """

    path: Path
    images: int
    z: tuple[np.ndarray, ...] | None
    log_prob: np.ndarray | None
    decoded: np.ndarray | None
    returned: np.ndarray | None
    again_z: tuple[np.ndarray, ...] | None
    again_log_prob: np.ndarray | None
    canary: np.ndarray | None
    tools: tuple[str, ...]
    vouched: bool
    ignored: tuple[str, ...] = ()
    integers: tuple[np.ndarray, ...] | None = None
    of_integers: np.ndarray | None = None
    in_range: Mapping[str, np.ndarray] = field(default_factory=dict)
    exact: bool = False

    def __repr__(self) -> str:
        return f"SavedOutputs({self.images} images, {self.path})"

    @property
    def samples(self) -> np.ndarray | None:
        """What was made of the latents that were fed."""
        return self.of_integers if self.exact else self.decoded

    @property
    def missing(self) -> tuple[str, ...]:
        """What was not saved, in words."""
        parts = {
            "the latents of the images": self.integers if self.exact else self.z,
            "their log densities": self.log_prob,
            "the images decoded from the given latents": self.samples,
            "its own round trip": self.returned,
        }
        if self.exact:
            parts["the latents as standard normal numbers (encoder.normal1, ...)"] = self.z
            for place in _RANGED:
                parts[f"whether images are in range ({place}.in_range)"] = self.in_range.get(place)
        else:
            parts["the latents of its own round trip"] = self.again_z
        return tuple(words for words, part in parts.items() if part is None)

    @property
    def told(self) -> Mapping[VerdictName, bool]:
        """By verdict: whether all that it rests on was saved.

        An exact program's own round trip is due to be what it was fed, so without its integers a copy would pass; and
        integers without `in_range` are not known to tell when they are wrong.
        """
        needs: dict[VerdictName, tuple[object, ...]] = {
            "round_trip": (self.returned,),
            "likelihood": (self.log_prob,),
            "samples": (self.samples,),
        }
        if self.exact:
            encoder, decoder, round_trip = (self.in_range.get(place) for place in _RANGED)
            needs["round_trip"] += (self.integers, self.z, encoder, round_trip)
            needs["likelihood"] += (encoder,)
            needs["samples"] += (decoder,)
        return {verdict: all(part is not None for part in parts) for verdict, parts in needs.items()}


def read_outputs(bundle: Bundle | str | Path, path: str | Path, *, rename: Sequence[str] = ()) -> SavedOutputs:
    """Read what another program made of a bundle's golden images: an .npz file, or a folder of the files of tools.

    Args:
        bundle: whose golden images were fed; opened, or its folder.
        path: the .npz file or the folder.
        rename: `THEIRS=OURS`, where the program names its outputs otherwise.

    Raises:
        UsageError: the bundle has no golden vectors, or a name in `rename` is wrong.
        DataError: a file is damaged; a tensor is missing, unknown, of another shape or type, not finite or there twice;
            there are more images than golden ones; the file tells of other inputs or graphs; or nobody computed it.
        BundleError: the bundle is damaged.
    """
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    path = Path(path)
    inputs = golden_inputs(bundle)
    expected = dict(inputs.outputs)
    renames = parse_renames(rename, expected)
    found = find_outputs(path, expected=expected, rename=renames)
    images = _rows(found, expected)
    wanted = expected_outputs(bundle.manifest, images=images)
    for name, array in found.tensors.items():
        _check(name, array, wanted[name], where=found.places[name])
    golden = bundle.golden()
    assert golden is not None  # golden_inputs would have said so
    if not inputs.exact:  # whose results are due to the bit, and are not those that were fed
        refuse_echoes(found.tensors, fed=inputs.tensors, golden=golden, places=found.places)
    # Images of a part may have been fed, and what was made of some of these saved.
    if found.digest is not None and found.digest not in inputs.digests[max(images, 1) - 1 :]:
        raise DataError(
            f"{found.places['']}: these outputs belong to other inputs or graphs than those of {bundle.path}: write "
            "the inputs of this bundle with `glow-deploy golden`, and feed them to its graphs"
        )
    tensors = found.tensors
    levels, exact = len(bundle.manifest.latent_shapes), inputs.exact
    return SavedOutputs(
        path=path,
        images=images,
        z=_latents(tensors, "encoder", levels, path, kind="normal" if exact else "z"),
        integers=_latents(tensors, "encoder", levels, path) if exact else None,
        log_prob=tensors.get("encoder.log_prob"),
        decoded=None if exact else tensors.get("decoder.x"),
        of_integers=tensors.get("decoder.x") if exact else None,
        in_range={place: tensors[f"{place}.in_range"] for place in _RANGED if f"{place}.in_range" in tensors},
        exact=exact,
        returned=tensors.get("round_trip.x"),
        again_z=_latents(tensors, "round_trip", levels, path),
        again_log_prob=tensors.get("round_trip.log_prob"),
        canary=tensors.get(CANARY_OUTPUT),
        tools=tuple(sorted(found.tools)),
        vouched=found.digest is not None,
        ignored=tuple(found.ignored),
    )


def parse_renames(rename: Sequence[str], expected: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Read `THEIRS=OURS` pairs.

    Raises:
        UsageError: one is no such pair, or names no output.
    """
    found: dict[str, str] = {}
    for pair in rename:
        theirs, equals, ours = pair.rpartition("=")
        if not (equals and theirs):
            raise UsageError(f"rename= names {shown(pair)}, which is no pair THEIRS=OURS, such as output_0=encoder.z1")
        if ours not in expected:
            raise UsageError(
                f"rename= names {shown(ours)}, and there is no such output; ours are {', '.join(expected)}"
            )
        if theirs in found or ours in found.values():
            raise UsageError(f"rename= names {shown(theirs)} or {ours} twice")
        found[theirs] = ours
    return found


def _rows(found: Found, expected: Mapping[str, tuple[int, ...]]) -> int:
    """How many images all tensors are of."""
    rows = {name: len(array) if array.ndim else 0 for name, array in found.tensors.items() if name != CANARY_OUTPUT}
    for name, count in rows.items():
        most = expected[name][0]
        if not 1 <= count <= most:
            raise DataError(
                f"{found.places[name]}: {name} is of {count} images, and the bundle has {most} golden ones: save what "
                "was made of those, in their order"
            )
    counts = set(rows.values())
    if len(counts) > 1:
        listed = ", ".join(f"{name} of {count}" for name, count in rows.items())
        raise DataError(f"{found.path}: the tensors are not of equally many images: {listed}")
    return counts.pop() if counts else 0


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], *, where: Path) -> None:
    check_floats(name, array.dtype, where=where)
    if array.dtype == np.float16 and name in PICTURES:
        raise DataError(
            f"{where}: {name} is float16, which holds the centres of pixels exactly and hides every error smaller than "
            "that: save float32"
        )
    if array.shape != shape:
        raise DataError(f"{where}: {name} is {list(array.shape)}; {list(shape)} is needed")
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count:
        row = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
        raise DataError(
            f"{where}: {name} holds {count} of {array.size} values that are NaN or infinite, the first in row {row}: "
            "the program overflows there, or saved what it had not computed"
        )


def _latents(
    tensors: Mapping[str, np.ndarray], place: str, levels: int, path: Path, *, kind: str = "z"
) -> tuple[np.ndarray, ...] | None:
    names = [f"{place}.{kind}{level}" for level in range(1, levels + 1)]
    there = [name for name in names if name in tensors]
    if there and len(there) < levels:
        missing = ", ".join(name for name in names if name not in tensors)
        raise DataError(f"{path}: {missing} missing: save all latents, or none")
    return tuple(tensors[name] for name in names) if there else None
