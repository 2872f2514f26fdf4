"""What a manifest says about graphs in 16 bit, read as untrusted input and held against the graphs themselves."""

from __future__ import annotations

from dataclasses import dataclass

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.manifest import ENCODER
from glow_deploy.artifact.signature import EXACT
from glow_deploy.artifact.sixteen_bit import ChoiceFigures
from glow_deploy.errors import BundleError
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.numerics.yardstick import Yardstick
from glow_deploy.precision.simulate import own_rounding

__all__ = ["PrecisionRecord", "read_precision"]


@dataclass(frozen=True, kw_only=True)
class PrecisionRecord:
    """What was found at export.

    Attributes:
        plan: what runs in 16 bit.
        own: errors of the simulated graphs on the golden images: what backends that round are held to.
        on_cpu: errors of the graphs in ONNX Runtime on the CPU, which computes them in float32; None where it cannot.
        tolerance: largest error of x -> z -> x promised by an `auto` plan, in pixel steps; None where nothing is.
        beyond: share of images, other than the golden ones, that may be beyond it, as promised likewise.
    """

    plan: PrecisionPlan
    own: Yardstick
    on_cpu: Yardstick | None
    tolerance: float | None
    beyond: float | None = None


def read_precision(bundle: Bundle) -> PrecisionRecord | None:
    """Read it; None for a bundle that is float32 throughout, or exact.

    Raises:
        BundleError: something is missing, malformed, or not what the graphs say of themselves. A missing promise is
            never a kept one.
    """
    manifest = bundle.manifest
    where = f"{bundle.path / 'manifest.json'}: numerics.precision"
    found = manifest.numerics.precision
    if manifest.precision == EXACT and manifest.numerics.exact is None:
        raise BundleError(
            f"{bundle.path / 'manifest.json'}: numerics.exact is missing, so nothing is proven; export again"
        )
    if manifest.precision in ("fp32", EXACT):
        if found is not None:
            raise BundleError(
                f"{where} belongs to graphs in 16 bit, and these are called {manifest.precision}; export again"
            )
        return None
    if found is None:
        raise BundleError(f"{where} is missing, so {manifest.precision} graphs cannot be judged; export again")
    plan = PrecisionPlan.from_dict(found.plan, source=where)
    if plan.name != manifest.precision:
        raise BundleError(f"{where} is a plan for {plan.name}, the manifest says {manifest.precision}; export again")
    held = own_rounding(bundle.graph(ENCODER))
    if (held.trunk, dict(held.conditioners)) != (plan.trunk, dict(plan.conditioners)):
        raise BundleError(f"{where}.plan is not that of {ENCODER}, which has {held.label}; export again")
    if found.onnxruntime_cpu is None and "bf16" not in plan.numbers:
        raise BundleError(f"{where}.onnxruntime_cpu is missing, so no error can be judged; export again")
    return PrecisionRecord(
        plan=plan,
        own=Yardstick.stored(
            found.figures,
            source=f"these {plan.name} graphs on {{n}} images, simulated at export",
            where="precision.figures",
        ),
        on_cpu=None
        if found.onnxruntime_cpu is None
        else Yardstick.stored(
            found.onnxruntime_cpu,
            source=f"these {plan.name} graphs on {{n}} images in ONNX Runtime on the CPU, at export",
            where="precision.onnxruntime_cpu",
        ),
        tolerance=_tolerance(found.choice, where) if plan.name == "auto" else None,
        beyond=_beyond(found.choice, where) if plan.name == "auto" else None,
    )


def _tolerance(choice: ChoiceFigures | None, where: str) -> float:
    if choice is None or not 0 < choice.tolerance <= 256:
        value = None if choice is None else choice.tolerance
        raise BundleError(f"{where}.choice.tolerance is {value}; auto graphs promise a number; export again")
    return choice.tolerance


def _beyond(choice: ChoiceFigures | None, where: str) -> float:
    if choice is None or not 0 <= choice.bound <= 1:
        value = None if choice is None else choice.bound
        raise BundleError(f"{where}.choice.bound is {value}; auto graphs promise a share; export again")
    return choice.bound
