"""All comparisons of weights and structure, in order, and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy._version import __version__
from glow_deploy.artifact.bundle import DECODER, ENCODER, Bundle
from glow_deploy.artifact.manifest import PICTURE_GRAPHS
from glow_deploy.artifact.signature import EXACT
from glow_deploy.artifact.weights import NODES, graph_digests, part_of_weight
from glow_deploy.graphs.pictures import is_picture_graph
from glow_deploy.verify.report.weights import (
    EXPORT,
    PAIR,
    PICTURES,
    PLANS,
    STRUCTURE,
    TRAINED,
    Found,
    WeightCheck,
    WeightFinding,
    WeightsReport,
)
from glow_deploy.verify.steps.weights import Weights, read_weights

from .agree import disagreements
from .exact import false_facts
from .structure import structure_difference
from .trained import against_checkpoint

if TYPE_CHECKING:
    from glow_deploy.graphs.precision_plan import PrecisionPlan

__all__ = ["check_weights"]

_FILES = (ENCODER, DECODER)
_AGAIN = "export the model again, and look for what changed the files since"


def check_weights(
    bundle: Bundle, *, plan: PrecisionPlan | None, ckpt: Path | None = None, plans: tuple[str, ...] = ()
) -> WeightsReport:
    """Compare what a bundle's graphs hold with each other, with the manifest and with the checkpoint.

    Args:
        bundle: with its manifest read.
        plan: what runs in 16 bit; None for float32 throughout.
        ckpt: the checkpoint that it was exported from; needs torch.
        plans: backends that run a compiled plan, of which nothing can be read.

    Raises:
        BundleError: a file is damaged.
        UsageError: the checkpoint is of another kind of model.
        CheckpointError: it cannot be read.
    """
    run = _Check(bundle, plan)
    if bundle.manifest.precision == EXACT:
        run.export()
        run.exact_pair()
    else:
        run.structure()
        run.export()
        run.pair()
    run.pictures()
    if ckpt is not None:
        run.trained(ckpt)
    if plans:
        run.add(PLANS, "not compared", f"{' and '.join(plans)}: a compiled plan does not show its weights")
    order = [STRUCTURE, PAIR, EXPORT, TRAINED, PICTURES, PLANS]
    return WeightsReport(
        checks=tuple(sorted(run.checks, key=lambda check: order.index(check.name))),
        findings=tuple(run.findings.values()),
    )


class _Check:
    def __init__(self, bundle: Bundle, plan: PrecisionPlan | None) -> None:
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._plan = plan
        self._models = tuple(bundle.graph(name) for name in _FILES)
        self._weights: tuple[Weights, Weights] = (read_weights(self._models[0]), read_weights(self._models[1]))
        self._made = str(self._manifest.versions.get("glow-deploy", "an unknown version"))[:40]
        self._known = True
        self.checks: list[WeightCheck] = []
        self.findings: dict[str, WeightFinding] = {}  # by part

    def add(self, name: str, found: Found, detail: str) -> None:
        self.checks.append(WeightCheck(name=name, found=found, detail=detail))

    def structure(self) -> None:
        """Nodes, names and shapes."""
        differences = {}
        for role, name, model, weights in zip(("encoder", "decoder"), _FILES, self._models, self._weights, strict=True):
            difference = structure_difference(
                model,
                weights,
                role="encoder" if role == "encoder" else "decoder",
                manifest=self._manifest,
                plan=self._plan,
            )
            if difference:
                differences[name] = difference
        self._known = not differences
        if not differences:
            self.add(STRUCTURE, "pass", "both graphs are those that this version builds for this model")
            return
        shown = "; ".join(f"{name}: {difference}" for name, difference in differences.items())
        made = self._made
        if made != __version__:
            self.add(
                STRUCTURE,
                "not compared",
                f"structure unknown to this version: the bundle was made by {made}, this is {__version__}: export the "
                f"model again to have it compared ({shown})",
            )
            return
        self.add(STRUCTURE, "fail", shown)
        self._find(STRUCTURE, tuple(differences), "", arrays=len(differences), detail=shown)

    def export(self) -> None:
        """Every weight against the digests in the manifest."""
        known = self._manifest.numerics.weights
        if known is None and self._made == __version__:
            lost = "the manifest says nothing of what was exported, and this version always does"
            self.add(EXPORT, "fail", lost)
            self._find(EXPORT, _FILES, "", arrays=0, detail=lost)
            return
        if known is None:
            self.add(
                EXPORT,
                "not compared",
                "the manifest does not say what was exported: export the model again with this version, or give --ckpt",
            )
            return
        wrong: dict[str, list[str]] = {}
        for role, name, model, weights in zip(("encoder", "decoder"), _FILES, self._models, self._weights, strict=True):
            held = graph_digests(model, weights)
            for part in dict.fromkeys((*known[role], *held)):
                if held.get(part) != known[role].get(part):
                    wrong.setdefault(part, []).append(name)
        if not wrong:
            self.add(EXPORT, "pass", "every node and weight is the one that was exported, bit for bit")
            return
        for part, files in wrong.items():
            what = "nodes" if part == NODES else "weights"
            detail = f"its {what} are not those that were exported{'' if len(files) == 1 else ', in both graphs'}"
            self._find(EXPORT, tuple(files), part, arrays=self._count(part), detail=detail)
        self.add(EXPORT, "fail", f"not what was exported: {_listed(wrong)}")

    def pair(self) -> None:
        """The encoder against the decoder."""
        if not self._known:
            self.add(PAIR, "not compared", "the structure of the graphs is not the one that this version builds")
            return
        wrong = disagreements(self._models[0], self._models[1], self._weights, self._manifest)
        for part, details in wrong.items():
            self._find(PAIR, _FILES, part, arrays=len(details), detail="; ".join(details))
        if wrong:
            self.add(PAIR, "fail", f"encoder and decoder do not hold the same model in {_listed(wrong)}")
        else:
            self.add(PAIR, "pass", "the conditioners are the same to the bit, and the 1x1s undo each other")

    def pictures(self) -> None:
        """The graphs of 8-bit pictures, where there are some: the graphs of the bundle with the rules of pixels."""
        if PICTURE_GRAPHS[0] not in self._manifest.files:
            return
        wrong = [
            name
            for name, model in zip(PICTURE_GRAPHS, self._models, strict=True)
            if not is_picture_graph(self._bundle.read(name), model, source=str(self._bundle.path / name))
        ]
        if not wrong:
            self.add(PICTURES, "pass", "they are the bundle's graphs with the rules of pixels around them, bit for bit")
            return
        detail = "it is not the bundle's graph with the rules of pixels around it"
        self._find(PICTURES, tuple(wrong), "", arrays=len(wrong), detail=detail)
        self.add(PICTURES, "fail", f"{' and '.join(wrong)}: {detail}")

    def exact_pair(self) -> None:
        """The integers of the encoder against those of the decoder."""
        encoder, decoder = self._weights
        shared = [name for name in encoder if name in decoder]
        wrong: dict[str, list[str]] = {}
        for name in shared:
            if not np.array_equal(encoder[name], decoder[name]):
                wrong.setdefault(part_of_weight(name), []).append(name)
        for part, names in wrong.items():
            detail = f"{_listed(names)} differ between the graphs"
            self._find(PAIR, _FILES, part, arrays=len(names), detail=detail)
        figures = self._manifest.numerics.exact
        assert figures is not None  # or the manifest was refused
        n_bits = int(self._manifest.model["n_bits"])
        false = false_facts(self._models[0], self._models[1], self._weights, figures, n_bits=n_bits)
        if false:
            self._find(PAIR, _FILES, "", arrays=len(false), detail="; ".join(false))
        if false:
            self.add(PAIR, "fail", f"what is said of the integers is false: {'; '.join(false[:3])}")
        elif wrong:
            self.add(PAIR, "fail", f"encoder and decoder do not hold the same integers in {_listed(wrong)}")
        else:
            self.add(PAIR, "pass", f"the {len(shared)} arrays that both graphs hold are the same to the bit")

    def trained(self, ckpt: Path) -> None:
        """Both graphs against the checkpoint."""
        sides = dict(zip(_FILES, against_checkpoint(self._bundle, ckpt, self._weights, plan=self._plan), strict=True))
        wrong: dict[str, list[str]] = {}
        for name, side in sides.items():
            for part in side.wrong:
                wrong.setdefault(part, []).append(name)
        if not wrong:
            rounded = sum(side.rounded for side in sides.values())
            but = f" but for {rounded}, which differ in a last digit" if rounded else ""
            compared = sum(side.compared for side in sides.values())
            self.add(TRAINED, "pass", f"all {compared} weights are the checkpoint's, bit for bit{but}")
            return
        kept = any(check.name == EXPORT and check.found == "pass" for check in self.checks)
        for part, files in wrong.items():
            names = list(dict.fromkeys(name for side in sides.values() for name in side.wrong.get(part, ())))
            advice = f"is {ckpt} the checkpoint that the bundle was exported from?" if kept else _AGAIN
            detail = f"not the checkpoint's: {_listed(names)}"
            self._find(TRAINED, tuple(files), part, arrays=len(names), detail=detail, advice=advice)
        self.add(TRAINED, "fail", f"other weights than the checkpoint's in {_listed(wrong)}")

    def _count(self, part: str) -> int:
        return max(sum(part_of_weight(name) == part for name in weights) for weights in self._weights)

    def _find(
        self, check: str, files: tuple[str, ...], part: str, *, arrays: int, detail: str, advice: str = _AGAIN
    ) -> None:
        """Add to what is known of a part: the first check tells the graph, each adds what it knows."""
        known = self.findings.get(part)
        if known is None:
            self.findings[part] = WeightFinding(
                check=check, files=files, part=part, arrays=arrays, detail=detail, advice=advice
            )
        else:
            self.findings[part] = WeightFinding(
                check=known.check,
                files=known.files,
                part=part,
                arrays=min(known.arrays, arrays),
                detail=f"{detail}; {known.detail}",
                advice=known.advice,
            )


def _listed(names: Mapping[str, object] | list[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
