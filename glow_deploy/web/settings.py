"""What the files of a site hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, get_args

from glow_deploy.arguments import as_choice, as_flag, as_path, as_seed, as_text, as_whole, settle
from glow_deploy.errors import UsageError
from glow_deploy.printable import shown

__all__ = ["WebOptions", "WebSettings", "WeightFormat", "need_text"]

WeightFormat = Literal["float32", "float16"]


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """How to make a site.

    Attributes:
        weights: how the conditioners' weights are stored. `float16` halves the download and is computed in float32.
            Both directions take the same rounded weights: the model stays invertible, and is a slightly different one.
        webgpu: take the files along that run the model on a graphics processor; they are on the server, and only
            browsers that use them load them.
        runtime: the package onnxruntime-web, a .tgz file or a folder; None takes the cache, or fetches it with npm.
        directions: a file of attribute directions of this model; None shows no sliders for attributes.
        title: heading of the page; None takes the folder's name.
        golden: golden images shown, 0 or more, as far as the bundle has them.
        draws: dequantisation draws that bits/dim is averaged over, 1 or more; each costs the visitor an encode.
        seed: of the dequantisation noise, below 2^53, which JavaScript still counts exactly.
        force: replace a site that is there.
    """

    weights: WeightFormat = "float32"
    webgpu: bool = True
    runtime: Path | None = None
    directions: Path | None = None
    title: str | None = None
    golden: int = 24
    draws: int = 8
    seed: int = 0
    force: bool = False

    def __post_init__(self) -> None:
        settle(self, as_choice, "weights", choices=get_args(WeightFormat))
        settle(self, as_flag, "webgpu", "force")
        settle(self, as_path, "runtime", "directions", optional=True)
        settle(self, as_text, "title", optional=True)
        if self.title is not None:
            need_text(self.title, "title is", remedy="give another title=")
        settle(self, as_whole, "golden", least=0, most=1000)
        settle(self, as_whole, "draws", least=1, most=1000)
        settle(self, as_seed, "seed")
        settle(self, as_whole, "seed", most=2**53 - 1)


def need_text(text: str, what: str, *, remedy: str) -> None:
    """Refuse what no file of text can hold: names that the system gives in bytes that are no UTF-8.

    Args:
        text: such a name, or a title.
        what: words before it in the message.
        remedy: words after it, what to do.

    Raises:
        UsageError: it is no Unicode text.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} {shown(text)}, which is not UTF-8 and cannot be on a page; {remedy}") from None


class WebOptions(TypedDict, total=False):
    """The fields of `WebSettings` as keyword arguments."""

    weights: WeightFormat
    webgpu: bool
    runtime: Path | None
    directions: Path | None
    title: str | None
    golden: int
    draws: int
    seed: int
    force: bool
