"""How the page is served, and what it may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glow_deploy.arguments import as_flag, as_path, as_seed, as_several, as_text, as_whole, settle
from glow_deploy.artifact.flavors import PairFlavor, as_flavor
from glow_deploy.engines.device import as_device

__all__ = ["ExploreSettings"]


@dataclass(frozen=True, kw_only=True)
class ExploreSettings:
    """How to serve a bundle.

    Attributes:
        flavor: which engines of the bundle: `onnx`, `tensorrt` or `rtx`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads for ONNX Runtime or OpenVINO; None leaves the choice to it.
        trust_engine: run plans without a matching sidecar.
        directions: a file of attribute directions of this model; None shows no sliders for attributes.
        draws: dequantisation draws that bits/dim is averaged over, 1 or more.
        seed: of the dequantisation noise.
        hosts: names or addresses, besides this machine's loopback, under which the page may be asked for; `*` stands
            for every IP address, but for no name. Anything else is refused, so that no foreign web page can reach the
            server through a name of its own (DNS rebinding).
        max_upload: bytes of a picture file.
        max_pixels: width x height of a picture, checked before it is decoded.
        kept_images: encoded images kept for all tabs together; the one unused for longest goes first.
        kept_bytes: the same in bytes of latents and pixels.
    """

    flavor: PairFlavor = "onnx"
    device: str = "auto"
    threads: int | None = None
    trust_engine: bool = False
    directions: Path | None = None
    draws: int = 8
    seed: int = 0
    hosts: tuple[str, ...] = ()
    max_upload: int = 16 << 20
    max_pixels: int = 50_000_000
    kept_images: int = 128
    kept_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        settle(self, as_flavor, "flavor")
        settle(self, as_device, "device")
        settle(self, as_whole, "threads", optional=True, least=1)
        settle(self, as_path, "directions", optional=True)
        settle(self, as_whole, "draws", "max_upload", "max_pixels", "kept_images", "kept_bytes", least=1)
        settle(self, as_seed, "seed")
        settle(self, as_several, "hosts", check=as_text)
        settle(self, as_flag, "trust_engine")
