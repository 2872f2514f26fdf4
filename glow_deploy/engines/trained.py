"""A checkpoint that is said to be the one a bundle was exported from. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_deploy.errors import UsageError

if TYPE_CHECKING:
    from glow_core.config import Weights
    from glow_deploy.artifact.bundle import Bundle

__all__ = ["Trained"]

# Left out of a model's config where they are off, as in every file of the first releases.
_OFF: Mapping[str, Any] = {"edge_bias": False, "prior": "conditional"}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a bundle tells about the checkpoint that it was exported from.

    Attributes:
        path: of the checkpoint, of this tool or of another project.
        bundle: folder of the bundle.
        model: the config that the checkpoint's model must have, as the manifest holds it.
        weights: averaged weights where there are any (`ema`), or those trained (`raw`).
        options: what another project's file may not say, by the names of `ImportOptions`.
    """

    path: Path
    bundle: Path
    model: Mapping[str, Any]
    weights: Weights
    options: Mapping[str, Any]

    @classmethod
    def of(cls, bundle: Bundle, ckpt: str | Path) -> Trained:
        """Return what the manifest of a bundle tells about a checkpoint."""
        manifest = bundle.manifest
        # The image size and the bit depth are known even where the model did not come from the file at hand, but from
        # what was converted from it.
        known = {name: manifest.model[name] for name in ("image_size", "n_bits")}
        return cls(
            path=Path(ckpt),
            bundle=bundle.path,
            model=manifest.model,
            weights="raw" if manifest.weights == "raw" else "ema",
            options={**known, **manifest.import_options},
        )

    def check(self, model: Mapping[str, Any]) -> None:
        """Hold the config of the checkpoint's model against the bundle's.

        Args:
            model: as `GlowConfig.to_dict` gives it.

        Raises:
            UsageError: it is another model.
        """
        found, wanted = {**_OFF, **model}, {**_OFF, **self.model}
        differences = [
            f"{name} {_shown(found.get(name))}, not {_shown(wanted.get(name))}"
            for name in dict.fromkeys((*model, *found, *wanted))
            if found.get(name) != wanted.get(name)
        ]
        if differences:
            raise UsageError(
                f"{self.path} is not the model that {self.bundle} was exported from ({'; '.join(differences)}); "
                f"name the checkpoint it was exported from, or run `glow-deploy export {self.path}`"
            )


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ("x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))[:40]
