"""The precision plan: the number format of every part of a model, decided when its graphs are built."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from glow_deploy.errors import BundleError, UsageError
from glow_deploy.folding.arrays import FoldedConv, FoldedGlow, step_path

__all__ = [
    "LARGEST",
    "PLAN_NAMES",
    "ElementType",
    "PlanName",
    "PrecisionPlan",
    "multiply_adds",
    "part_of",
    "step_paths",
]

ElementType = Literal["fp32", "fp16", "bf16"]
"""float32, float16 or bfloat16."""

PlanName = Literal["fp32", "mixed", "bf16-mixed", "fp16", "auto"]

PLAN_NAMES: tuple[PlanName, ...] = get_args(PlanName)

LARGEST: Mapping[ElementType, float] = {
    "fp32": (2 - 2**-23) * 2.0**127,
    "fp16": 65504.0,
    "bf16": (2 - 2**-7) * 2.0**127,
}
"""The largest finite value of each number."""

# Of each plan: the trunk's number and those its conditioners may have.
_NUMBERS: dict[PlanName, tuple[ElementType, tuple[ElementType, ...]]] = {
    "fp32": ("fp32", ("fp32",)),
    "mixed": ("fp32", ("fp16",)),
    "bf16-mixed": ("fp32", ("bf16",)),
    "fp16": ("fp16", ("fp16",)),
    "auto": ("fp32", ("fp16", "fp32")),
}

_STEP = re.compile(r"level[1-9][0-9]*/step[0-9]{2,}")
_CONDITIONER_NODE = re.compile(
    rf"({_STEP.pattern})/coupling/(?:conv[123]|relu[12]|conv[13]/(?:minus_edge/(?:rows|columns)|add_edge))"
)
_FLOAT32_NODE = re.compile(r"(?:^|/)log_(?:det|prob)(?:/|$)")


@dataclass(frozen=True, kw_only=True)
class PrecisionPlan:
    """The number format of the trunk and of every step's conditioner.

    The trunk is actnorm, 1x1 convolutions, the affine application, splits and priors. Its log-determinants are summed
    in float32 in every plan.

    Attributes:
        name: `fp32`; `mixed`, conditioners in float16; `bf16-mixed`, in bfloat16; `fp16`, the whole graph in float16,
            for decoding only; `auto`, each conditioner in float16 or float32.
        trunk: `fp32`, except `fp16` in the plan of that name.
        conditioners: step path (`level1/step01`) -> number, one entry for every step, in encoding order.

    Raises:
        UsageError: the numbers are not those of the name, or a path is none of a step.
    """

    name: PlanName
    trunk: ElementType
    conditioners: Mapping[str, ElementType]

    def __post_init__(self) -> None:
        if self.name not in _NUMBERS:
            raise UsageError(f"there is no precision {self.name!r}: choose one of {', '.join(PLAN_NAMES)}")
        trunk, allowed = _NUMBERS[self.name]
        if self.trunk != trunk:
            raise UsageError(f"a plan named {self.name} has its trunk in {trunk}, not in {self.trunk}")
        if not self.conditioners:
            raise UsageError("a precision plan needs an entry for every step of flow, and this one has none")
        for path, number in self.conditioners.items():
            if not isinstance(path, str) or not _STEP.fullmatch(path):
                raise UsageError(f"{str(path)[:40]!r} is no step of flow; steps are named like level1/step01")
            if number not in allowed:
                raise UsageError(
                    f"a plan named {self.name} has its conditioners in {' or '.join(allowed)}, "
                    f"not in {str(number)[:40]} ({path})"
                )

    @classmethod
    def uniform(cls, name: str, steps: FoldedGlow | Sequence[str]) -> PrecisionPlan:
        """Return the plan of a name that treats all steps alike.

        Args:
            name: `fp32`, `mixed`, `bf16-mixed` or `fp16`.
            steps: the model, or the paths of its steps in encoding order.

        Raises:
            UsageError: no such name, or `auto`, which needs a choice for every step.
        """
        if name == "auto" or name not in _NUMBERS:
            raise UsageError(
                f"precision {name!r} does not say the number of every step: "
                f"choose one of {', '.join(known for known in PLAN_NAMES if known != 'auto')}"
            )
        trunk, (number, *_) = _NUMBERS[name]
        return cls(name=name, trunk=trunk, conditioners=dict.fromkeys(step_paths(steps), number))

    @classmethod
    def auto(cls, steps: FoldedGlow | Sequence[str], *, narrow: Sequence[str]) -> PrecisionPlan:
        """Return the plan with the conditioners of the `narrow` steps in float16 and the others in float32.

        Raises:
            UsageError: `narrow` names a step that the model does not have.
        """
        paths = step_paths(steps)
        unknown = [path for path in narrow if path not in paths]
        if unknown:
            raise UsageError(f"the model has no step {', '.join(unknown)}")
        chosen = set(narrow)
        return cls(
            name="auto", trunk="fp32", conditioners={path: "fp16" if path in chosen else "fp32" for path in paths}
        )

    @property
    def narrow(self) -> tuple[str, ...]:
        """Paths of the steps whose conditioner runs in 16 bit."""
        return tuple(path for path, number in self.conditioners.items() if number != "fp32")

    @property
    def numbers(self) -> frozenset[ElementType]:
        """All number formats that occur."""
        return frozenset((self.trunk, *self.conditioners.values()))

    def check(self, folded: FoldedGlow) -> None:
        """Check that the plan is for this model.

        Raises:
            UsageError: a step of the model has no entry, or an entry no step.
        """
        paths = step_paths(folded)
        missing = [path for path in paths if path not in self.conditioners]
        unknown = [path for path in self.conditioners if path not in paths]
        if missing or unknown:
            wrong = [f"nothing for {missing[0]}"] if missing else []
            wrong += [f"an entry for {unknown[0]}, which the model does not have"] if unknown else []
            raise UsageError(f"the precision plan is for another model: it holds {' and '.join(wrong)}")

    def share(self, folded: FoldedGlow) -> float:
        """Share of the multiply-adds of all convolutions, of both graphs together, that run in 16 bit: 0 to 1."""
        self.check(folded)
        counts = multiply_adds(folded)
        narrow = sum(counts[path] for path in self.narrow)
        if self.trunk != "fp32":
            narrow += counts["trunk"]
        return narrow / sum(counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"name": self.name, "trunk": self.trunk, "conditioners": dict(self.conditioners)}

    @classmethod
    def from_dict(cls, values: object, *, source: str) -> PrecisionPlan:
        """Read `to_dict`'s values back.

        Args:
            values: untrusted.
            source: where they come from, for messages.

        Raises:
            BundleError: an entry is missing, unknown or malformed.
        """
        if not isinstance(values, dict) or set(values) != {"name", "trunk", "conditioners"}:
            raise BundleError(f"{source}: its precision plan does not hold name, trunk and conditioners; export again")
        name, conditioners = values["name"], values["conditioners"]
        if not isinstance(name, str) or not isinstance(conditioners, dict):
            raise BundleError(f"{source}: its precision plan is malformed (name or conditioners); export again")
        try:
            return cls(name=cast(PlanName, name), trunk=values["trunk"], conditioners=dict(conditioners))
        except (UsageError, TypeError) as error:  # TypeError: a number that is a list
            raise BundleError(f"{source}: its precision plan is malformed ({error}); export again") from error


def part_of(node: str) -> str | None:
    """Return what decides the number of a graph's node, known by its name.

    Returns:
        The step's path for a convolution, its edge or a ReLU of a conditioner, `trunk` for the rest of the flow, None
        for the sums of log-determinants and densities, which are float32 in every plan.
    """
    if _FLOAT32_NODE.search(node):
        return None
    found = _CONDITIONER_NODE.fullmatch(node)
    return "trunk" if found is None else found.group(1)


def step_paths(steps: FoldedGlow | Sequence[str]) -> tuple[str, ...]:
    """Return the paths of a model's steps, `level1/step01` first; paths are given back as they are."""
    if not isinstance(steps, FoldedGlow):
        return tuple(steps)
    return tuple(
        step_path(index, number)
        for index, level in enumerate(steps.levels, start=1)
        for number in range(1, len(level.steps) + 1)
    )


def multiply_adds(folded: FoldedGlow) -> Mapping[str, int]:
    """Multiply-adds of all convolutions for one image, encoding and decoding it.

    Elementwise work, that of edges and priors included, is left out: it is a few values for each of hundreds of
    products.

    Returns:
        Step path -> those of its conditioner, and `trunk` -> those of the 1x1 and split convolutions.
    """
    counts: dict[str, int] = {}
    trunk = 0
    for index, level in enumerate(folded.levels, start=1):
        positions = level.shape[1] * level.shape[2]
        for number, step in enumerate(level.steps, start=1):
            net = step.conditioner
            each = sum(_entries(conv) for conv in (net.conv1, net.conv2, net.conv3))
            counts[step_path(index, number)] = 2 * positions * each
            trunk += positions * (_entries(step.encode) + _entries(step.decode))
        if isinstance(level.split, FoldedConv):
            trunk += 2 * positions * _entries(level.split)
    return {**counts, "trunk": trunk}


def _entries(conv: FoldedConv) -> int:
    return int(conv.weight.size)
