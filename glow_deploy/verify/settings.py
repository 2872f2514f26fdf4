"""What a verification is asked to do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from glow_deploy.arguments import as_flag, as_instance, as_path, as_real, as_seed, as_several, as_text, as_whole, settle
from glow_deploy.artifact.flavors import installed_backends
from glow_deploy.engines.device import as_device
from glow_deploy.errors import UsageError
from glow_deploy.signing import Trust
from glow_deploy.verify.backends.backend import KNOWN, known_backend

if TYPE_CHECKING:
    from glow_deploy.data.reading import Reading

__all__ = ["VerifyOptions", "VerifySettings"]


@dataclass(frozen=True, kw_only=True)
class VerifySettings:
    """Options of `verify`, the same for the command line and the Python interface.

    Attributes:
        backends: names of backends in any order, or one name; None for every one of `BACKENDS` that is usable here,
            which leaves OpenVINO out. A server of the Open Inference Protocol is `triton=HOST:PORT`, or
            `triton=HOST:PORT/NAME` where its models are not called `glow-encoder` and `glow-decoder`.
        ckpt: the checkpoint that the bundle was exported from. Adds the PyTorch backends, and on `data` the float64
            reference and a yardstick measured on those very images.
        data: fresh images, as `load_images` reads them; the golden vectors are used as well.
        outputs: what another program made of the golden images: an .npz file or a folder, as `glow_deploy.offline`
            reads them. It is judged like a backend.
        rename: `THEIRS=OURS` where that program names its outputs otherwise, such as `output_0=encoder.z1`.
        limit: at most this many images of `data`, from the first on; None for all.
        batch: images at a time.
        largest_batch: batch sizes are tried up to here, and those in use and named by a plan's profile beyond it. None
            for the largest that an engine takes, or for 64 where it takes any: the most that any command runs at once
            by default.
        device: `auto`, `cpu` (leaves GPU backends out), `cuda` or `cuda:N`.
        resize: fit pictures of another size or mode instead of refusing them.
        skip_unreadable: leave out pictures of `data` that cannot be read, instead of refusing them all.
        reading: what the files of `data` do not say about their values.
        threads: CPU threads for ONNX Runtime and OpenVINO; None leaves the choice to it.
        trust_engine: run plans without a matching sidecar; a plan is executable code.
        timeout: seconds that a server may take for one answer.
        temperatures: T of the latents drawn at random, which are reported and not gated.
        random_draws: number of draws at each temperature; 0 leaves them out.
        seed: of the draws.
        steps: measure the error after every step of flow, and the error budget, on `steps_images` images.
        steps_images: how many.
        stress: look for where the model stops being invertible: foreign images, hot latents, repeated passes, a
            half-bin attack (with `ckpt`), repeated runs.
        baseline: a JSON report of an earlier run to compare with.
        baseline_factor: what a figure may grow to, as a multiple of the baseline's.
        require_signature: refuse a bundle that is not signed by the one named; naming one is enough.
        public_key: whose signature the bundle must have: that of the holder of this key, a PEM file.
        certificate_root: likewise, of a holder of a certificate below this one.
        identity: likewise, of this Sigstore identity.
        issuer: who vouched for the identity.

    Raises:
        UsageError: a value is out of range, or a signature is required and it is not said whose.
    """

    backends: Sequence[str] | None = None
    ckpt: Path | None = None
    data: str | None = None
    outputs: Path | None = None
    rename: Sequence[str] = ()
    limit: int | None = None
    batch: int = 32
    largest_batch: int | None = None
    device: str = "auto"
    resize: bool = False
    skip_unreadable: bool = False
    reading: Reading | None = None
    threads: int | None = None
    trust_engine: bool = False
    timeout: float = 60.0
    temperatures: tuple[float, ...] = (0.7, 1.0)
    random_draws: int = 64
    seed: int = 0
    steps: bool = False
    steps_images: int = 16
    stress: bool = False
    baseline: Path | None = None
    baseline_factor: float = 1.5
    require_signature: bool = False
    public_key: Path | None = None
    certificate_root: Path | None = None
    identity: str | None = None
    issuer: str | None = None

    def __post_init__(self) -> None:
        settle(self, as_several, "backends", optional=True, check=as_text)
        settle(self, as_several, "rename", check=as_text)
        settle(self, as_path, "ckpt", "outputs", "baseline", "public_key", "certificate_root", optional=True)
        settle(self, as_text, "data", optional=True, such_as="faces")
        if self.reading is not None:
            from glow_deploy.data.reading import Reading

            settle(self, as_instance, "reading", kind=Reading)
        settle(self, as_text, "identity", "issuer", optional=True)
        settle(self, as_device, "device")
        settle(self, as_whole, "batch", "steps_images", least=1)
        settle(self, as_whole, "limit", "largest_batch", "threads", optional=True, least=1)
        settle(self, as_whole, "random_draws", least=0)
        settle(self, as_seed, "seed")
        settle(self, as_several, "temperatures", check=as_real, least=0)
        settle(self, as_real, "baseline_factor", least=1)
        settle(self, as_real, "timeout", above=0, most=86_400)
        settle(self, as_flag, "resize", "skip_unreadable", "trust_engine", "steps", "stress", "require_signature")
        _ = self.trust  # says what is wrong with it before anything is measured
        if self.backends is not None:
            unknown = [name for name in self.backends if not known_backend(name)]
            if unknown or not self.backends or len(set(self.backends)) < len(self.backends):
                given = ", ".join(self.backends) or "none"
                raise UsageError(
                    f"backends: {given}; name each once, of {', '.join((*KNOWN, *installed_backends()))}, or servers: "
                    "triton=HOST:PORT"
                )
        if self.rename and self.outputs is None:
            raise UsageError("rename= is for the names in outputs=, and none are given")
        if self.limit is not None and self.data is None:
            raise UsageError("limit counts the images of data=, and none are given")

    @property
    def trust(self) -> Trust | None:
        """Whose signature the bundle must have; None where it needs none."""
        return Trust.of(
            public_key=self.public_key,
            certificate_root=self.certificate_root,
            identity=self.identity,
            issuer=self.issuer,
            required=self.require_signature,
        )

    def command(self, bundle: Path) -> str:
        """Return the command line that repeats this run."""
        words = ["glow-deploy", "verify", str(bundle)]
        for name in self.backends or ():
            words += ["--backend", name]
        defaults = VerifySettings()
        for option in (
            *("ckpt", "data", "outputs", "limit", "batch", "largest_batch", "device", "threads", "timeout"),
            *("seed", "random_draws", "steps_images", "baseline", "baseline_factor"),
            *("public_key", "certificate_root", "identity", "issuer"),
        ):
            value = getattr(self, option)
            if value != getattr(defaults, option):
                words += [f"--{option.replace('_', '-')}", str(value)]
        words += [] if self.reading is None else self.reading.words()
        for pair in self.rename:
            words += ["--rename", pair]
        names = ("resize", "skip_unreadable", "trust_engine", "steps", "stress", "require_signature")
        flags = {name: getattr(self, name) for name in names}
        words += [f"--{name.replace('_', '-')}" for name, given in flags.items() if given]
        return shlex.join(words)


class VerifyOptions(TypedDict, total=False):
    """The fields of `VerifySettings` as keyword arguments."""

    backends: Sequence[str] | None
    ckpt: str | Path | None
    data: str | None
    outputs: str | Path | None
    rename: Sequence[str]
    limit: int | None
    batch: int
    largest_batch: int | None
    device: str
    resize: bool
    skip_unreadable: bool
    reading: Reading | None
    threads: int | None
    trust_engine: bool
    timeout: float
    temperatures: tuple[float, ...]
    random_draws: int
    seed: int
    steps: bool
    steps_images: int
    stress: bool
    baseline: str | Path | None
    baseline_factor: float
    require_signature: bool
    public_key: str | Path | None
    certificate_root: str | Path | None
    identity: str | None
    issuer: str | None
