"""A bundle opened to be used: both engines of one model behind one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.flavors import BACKEND_FLAVORS
from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import UsageError
from glow_deploy.latents import (
    EncodeSettings,
    InterpolationSettings,
    Latents,
    SampleSettings,
    check_labels,
    concatenate_samples,
    decode_latents,
    encode_images,
    interpolate,
    interpolate_images,
)
from glow_deploy.latents import sample as draw
from glow_deploy.protocol import Engine
from glow_deploy.scoring import Scores, ScoreSettings, score_images
from glow_deploy.signing import Trust, check_signature

from .intake import Images, take_images
from .pictures import Pictures

__all__ = ["DeployedGlow", "Labels", "ModelBackend", "load"]

ModelBackend = Literal["auto", "onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx"]
Labels = int | Sequence[int] | npt.NDArray[np.integer]
"""The class of every image, or one class for all."""


def load(
    bundle: str | Path,
    *,
    backend: ModelBackend = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_engine: bool = False,
    public_key: str | Path | None = None,
    certificate_root: str | Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
) -> DeployedGlow:
    """Open a bundle: the way from Python to a deployed model. Needs no torch.

    Args:
        bundle: the folder that `export` wrote.
        backend: what runs it. `auto` is ONNX Runtime, on CUDA where that works. The others are the names that `verify`
            uses; one that is not usable here is an error.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads for ONNX Runtime; None leaves the choice to it.
        trust_engine: run TensorRT plans without a matching sidecar. A plan is executable code.
        public_key: whose signature the bundle must have: that of the holder of this key, a PEM file. Every file that is
            loaded is held to what was signed, `trust_engine` or not.
        certificate_root: likewise, of a holder of a certificate below this one.
        identity: likewise, of this Sigstore identity.
        issuer: who vouched for the identity.

    Returns:
        The model. Use it in a `with` block, or close it.

    Raises:
        BundleError: no bundle, or a damaged one.
        SignatureError: the bundle is not signed as asked for, or is not as it was signed.
        EngineError: the backend refuses an engine, or the bundle has no plan for it.
        MissingDependencyError: a package, driver or device is not there.
        UsageError: no such backend, or one that cannot run on this device.

    Examples:
        >>> import glow_deploy
        >>> with glow_deploy.load(bundle) as model:
        ...     pictures = model.sample(4)
        >>> pictures
        Pictures(4 of 3x8x8)
        >>> pictures.pixels.shape
        (4, 8, 8, 3)
    """
    trust = Trust.of(public_key=public_key, certificate_root=certificate_root, identity=identity, issuer=issuer)
    signed = None if trust is None else check_signature(bundle, trust).signed
    return DeployedGlow(
        bundle, backend=backend, device=device, threads=threads, trust_engine=trust_engine, signed=signed
    )


class DeployedGlow:
    """An encoder and a decoder of one Glow, ready to run. Made by `load`; a context manager.

    Images go in as files, PIL images or arrays: see `glow_deploy.model.intake.Images`. A class-conditional model takes
    `labels`, the class of each image or one for all.
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        backend: ModelBackend = "auto",
        device: str = "auto",
        threads: int | None = None,
        trust_engine: bool = False,
        signed: SignedFiles | None = None,
    ) -> None:
        if backend not in get_args(ModelBackend):
            raise UsageError(f"there is no backend {backend!r}; choose from {', '.join(get_args(ModelBackend))}")
        where = _device(backend, device)

        def enter(opened: Bundle) -> tuple[Bundle, ExitStack, tuple[Engine, Engine]]:
            with ExitStack() as stack:
                pair = open_pair(
                    bundle,
                    flavor=BACKEND_FLAVORS.get(backend, "onnx"),
                    device=where,
                    threads=threads,
                    trust_engine=trust_engine,
                    signed=signed,
                )
                engines = stack.enter_context(pair)
                opened.check_unchanged()
                return opened, stack.pop_all(), engines

        self._bundle, self._stack, (self._encoder, self._decoder) = while_unchanged(bundle, enter, signed=signed)

    @property
    def bundle(self) -> Bundle:
        """The folder and its manifest."""
        return self._bundle

    @property
    def backend(self) -> str:
        """What really runs: `onnxruntime-cpu`, ..."""
        return self._decoder.details.backend

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, or `cuda:N` with the GPU's name."""
        return self._decoder.details.device

    @property
    def precision(self) -> str:
        """Of the graphs: `fp32`, `mixed`, ..."""
        return self._bundle.manifest.precision

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self._bundle.manifest.image_shape

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image_shape[1:]

    @property
    def channels(self) -> int:
        """1 for grey pictures, 3 for colour."""
        return self.image_shape[0]

    @property
    def path(self) -> Path:
        """The bundle's folder."""
        return self._bundle.path

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 ... zL, the finest first."""
        return self._bundle.manifest.latent_shapes

    @property
    def n_bits(self) -> int:
        """Depth of the model's pixels, 1 to 8."""
        return self._bundle.manifest.n_bits

    @property
    def num_classes(self) -> int | None:
        """K of a class-conditional model, None for one without classes."""
        return self._bundle.manifest.num_classes

    def encode(
        self,
        images: Images,
        *,
        labels: Labels | Literal["best"] | None = None,
        draws: int = 0,
        seed: int = 0,
        batch: int = 64,
        resize: bool = False,
    ) -> Latents:
        """Turn images into latents with their exact log-likelihood.

        Args:
            images: files, PIL images or arrays.
            labels: classes, for a class-conditional model; `"best"` takes each image as the class that makes it
                likeliest.
            draws: draws of dequantisation noise that `bits_per_dim` is averaged over; 0 leaves it out.
            seed: of that noise.
            batch: images at once.
            resize: fit pictures of another size or mode instead of refusing them.

        Returns:
            z1 ... zL, each [N, C, H, W] and standard normal under the model, and `log_prob` [N] in nats.

        Raises:
            DataError: not images, or not of the model's size.
            UsageError: labels that do not fit the model, or an option out of range.

        Examples:
            >>> latents = model.encode(images)
            >>> [level.shape for level in latents.z]
            [(3, 6, 4, 4), (3, 24, 2, 2)]
        """
        values = self._take(images, resize=resize)
        settings = EncodeSettings(draws=draws, seed=seed, batch=batch, best_class=_best(labels))
        return encode_images(self._encoder, values, settings=settings, labels=self._given(labels, len(values)))

    def decode(
        self,
        latents: Latents | Pictures | Mapping[str, npt.NDArray[np.floating]] | Sequence[npt.NDArray[np.floating]],
        *,
        labels: Labels | None = None,
        batch: int = 64,
    ) -> Pictures:
        """Turn latents back into pictures.

        Args:
            latents: of `encode`, those of `Pictures`, or arrays z1 ... zL, each [N, C, H, W], in order or by name.
            labels: classes, for a class-conditional model; None takes those of `encode`.
            batch: images at once.

        Raises:
            DataError: latents of other shapes than the model's.
            UsageError: labels that do not fit the model.

        Examples:
            >>> bool((model.decode(model.encode(images)).pixels == images).all())
            True
        """
        z, own = _arrays(latents, levels=len(self.latent_shapes))
        chosen = own if labels is None else self._labels(labels, len(z[0]))
        decoded = decode_latents(self._decoder, z, labels=chosen, batch=batch)
        return Pictures(x=decoded.x, z=tuple(z), finite=decoded.finite, n_bits=self.n_bits, labels=chosen)

    def reconstruct(self, images: Images, *, labels: Labels | None = None, resize: bool = False) -> Pictures:
        """Encode images and decode them again: a sound model gives every pixel back."""
        return self.decode(self.encode(images, labels=labels, resize=resize))

    def sample(
        self,
        n: int = 16,
        *,
        temperature: float | Sequence[float] = 0.7,
        seed: int = 0,
        labels: Labels | Literal["all"] | None = None,
        batch: int = 64,
    ) -> Pictures:
        """Draw pictures. Sample i depends on (seed, i) alone, whatever the backend and the batch.

        Args:
            n: how many.
            temperature: scales every latent, 0 to 100; 1 is the model itself. Several: one for each level, z1 first.
            seed: of the draws, 0 to 2^64-1.
            labels: classes, for a class-conditional model; several are taken in turn, `"all"` takes every one.
            batch: images at once.

        Raises:
            UsageError: an option is out of range.
            EngineError: a sample stays without finite values, however often it is drawn.

        Examples:
            >>> model.sample(2, temperature=1.0, seed=7)
            Pictures(2 of 3x8x8)
        """
        if isinstance(labels, str):
            if labels != "all":
                raise UsageError(f'labels is {labels!r:.40}; give whole numbers or labels="all"')
            labels = range(self.num_classes or 1)
        settings = SampleSettings(
            temperature=temperature if isinstance(temperature, (int, float)) else tuple(temperature),
            seed=seed,
            batch=batch,
            labels=None if labels is None else tuple(int(label) for label in np.atleast_1d(labels)),
        )
        drawn = concatenate_samples(draw(self._decoder, count=n, settings=settings))
        finite = np.ones(len(drawn), bool)
        return Pictures(x=drawn.x, z=drawn.z, finite=finite, n_bits=self.n_bits, labels=drawn.labels)

    def interpolate(
        self,
        a: Images | Latents,
        b: Images | Latents,
        *,
        steps: int = 9,
        mode: Literal["linear", "spherical"] = "linear",
        labels: Labels | None = None,
        resize: bool = False,
    ) -> Pictures:
        """Show what lies between two images in the latents, both ends included.

        Args:
            a: one image; or its `Latents`. One of `Pictures` goes from the latents it was decoded from.
            b: another.
            steps: pictures on the way, 2 to 1000.
            mode: straight in the latents, or along great circles.
            labels: the class of each end, or one for both, for a class-conditional model.
            resize: fit pictures of another size or mode instead of refusing them.

        Examples:
            >>> len(model.interpolate(images[0], images[1], steps=5))
            5
            >>> first, last = model.sample(2)[0], model.sample(2)[1]
            >>> len(model.interpolate(first, last))
            9
        """
        if isinstance(a, (Latents, Pictures)) or isinstance(b, (Latents, Pictures)):
            return self._between(a, b, steps=steps, mode=mode, labels=labels, resize=resize)
        ends = [self._take(image, resize=resize) for image in (a, b)]
        if any(len(end) != 1 for end in ends):
            raise UsageError(f"name one image for each end, not {len(ends[0])} and {len(ends[1])}")
        found = interpolate_images(
            self._encoder,
            self._decoder,
            np.concatenate(ends),
            settings=InterpolationSettings(steps=steps, mode=mode),
            labels=self._labels(labels, 2),
        )
        return Pictures(
            x=found.x,
            z=tuple(found.z),
            finite=found.finite,
            n_bits=self.n_bits,
            labels=found.labels,
            columns=found.columns,
        )

    def _between(
        self,
        a: Images | Latents,
        b: Images | Latents,
        *,
        steps: int,
        mode: Literal["linear", "spherical"],
        labels: Labels | None,
        resize: bool,
    ) -> Pictures:
        """`interpolate` where an end has latents already; each is decoded as the class of the nearer end."""
        given = None if labels is None else self._labels(labels, 2)
        z, classes = [], []
        for side, end in enumerate((a, b)):
            one = None if given is None else given[side : side + 1]
            found = end if isinstance(end, (Latents, Pictures)) else self.encode(end, labels=one, resize=resize)
            if len(found) != 1:
                raise UsageError(f"name one image for each end, not {len(found)}; pick one, such as pictures[0]")
            z.append([level[0] for level in found.z])
            classes.append(found.labels if one is None else one)
        way = interpolate(z[0], z[1], steps=steps, mode=mode)
        first, last = classes
        near = np.arange(steps) > (steps - 1) / 2
        chosen = None if first is None or last is None else np.where(near, last[0], first[0]).astype(np.int64)
        decoded = decode_latents(self._decoder, way, labels=chosen)
        return Pictures(x=decoded.x, z=way, finite=decoded.finite, n_bits=self.n_bits, labels=chosen, columns=steps)

    def score(
        self,
        images: Images,
        *,
        labels: Labels | Literal["best"] | None = None,
        draws: int = 8,
        seed: int = 0,
        batch: int = 64,
        resize: bool = False,
    ) -> Scores:
        """Measure how likely images are under the model.

        Args:
            images: files, PIL images or arrays.
            labels: classes, for a class-conditional model; `"best"` takes each image as the class that makes it
                likeliest.
            draws: draws of dequantisation noise that is averaged over, at least 1.
            seed: of that noise.
            batch: images at once.
            resize: fit pictures of another size or mode instead of refusing them.

        Returns:
            `log_prob` in nats, `bits_per_dim` and `level_squares`, one row an image.

        Examples:
            >>> model.score(images).bits_per_dim.shape
            (3,)
        """
        values = self._take(images, resize=resize)
        settings = ScoreSettings(draws=draws, seed=seed, batch=batch, best_class=_best(labels))
        return score_images(self._encoder, values, settings=settings, labels=self._given(labels, len(values)))

    def close(self) -> None:
        """Give memory and device back; twice is harmless."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        classes = "" if self.num_classes is None else f", {self.num_classes} classes"
        return (
            f"DeployedGlow({str(self._bundle.path)!r}: {channels}x{height}x{width}, {self.n_bits} bits, "
            f"{len(self.latent_shapes)} levels{classes}, {self.precision} on {self.backend})"
        )

    def _take(self, images: Images, *, resize: bool) -> npt.NDArray[np.uint8]:
        return take_images(images, shape=self.image_shape, n_bits=self.n_bits, resize=resize)

    def _given(self, labels: Labels | Literal["best"] | None, count: int) -> npt.NDArray[np.int64] | None:
        return None if isinstance(labels, str) else self._labels(labels, count)

    def _labels(self, labels: Labels | None, count: int) -> npt.NDArray[np.int64] | None:
        given = None if labels is None else np.atleast_1d(np.asarray(labels))
        if given is not None and len(given) == 1:
            given = np.repeat(given, count)
        return check_labels(self._encoder, given, count)


def _best(labels: Labels | Literal["best"] | None) -> bool:
    if isinstance(labels, str) and labels != "best":
        raise UsageError(f'labels is {labels!r:.40}; give whole numbers or labels="best"')
    return isinstance(labels, str)


def _device(backend: str, device: str) -> str:
    """The device that a backend implies."""
    if backend == "auto":
        return device
    if backend == "onnxruntime-cpu":
        if device.startswith("cuda"):
            raise UsageError(f'backend="onnxruntime-cpu" runs on the CPU, not on {device}')
        return "cpu"
    if device == "cpu":
        raise UsageError(f'backend="{backend}" needs a GPU, and device="cpu" asks for the CPU')
    return "cuda" if device == "auto" else device


def _arrays(
    latents: Latents | Pictures | Mapping[str, npt.NDArray[np.floating]] | Sequence[npt.NDArray[np.floating]],
    *,
    levels: int,
) -> tuple[list[npt.NDArray[np.floating]], npt.NDArray[np.int64] | None]:
    """The arrays z1 ... zL, and the labels that came with them."""
    if isinstance(latents, (Latents, Pictures)):
        return list(latents.z), latents.labels
    if isinstance(latents, Mapping):
        names = [f"z{level}" for level in range(1, levels + 1)]
        missing = [name for name in names if name not in latents]
        if missing:
            raise UsageError(f"the latents lack {', '.join(missing)}; give {', '.join(names)}")
        return [np.asarray(latents[name]) for name in names], None
    found = [np.asarray(level) for level in latents]
    if len(found) != levels:
        raise UsageError(f"the model has {levels} levels, and {len(found)} arrays are given; give z1 to z{levels}")
    return found, None
