"""What the command line asked for, checked before anything is collected."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.artifact.files import refuse_folder
from glow_deploy.errors import UsageError
from glow_deploy.verify import VerifySettings, check_report_target
from glow_deploy.verify.regression import Baseline, check_factor, read_baseline

if TYPE_CHECKING:
    import pytest

__all__ = ["Options", "target_of"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The `--glow-` options.

    Attributes:
        bundles: folders, at least one.
        settings: of every verification.
        baselines: already read.
        json: where the JSON report goes; None for nowhere.
        report: where the HTML report goes, likewise.
    """

    bundles: tuple[Path, ...]
    settings: VerifySettings
    baselines: tuple[Baseline, ...]
    json: Path | None
    report: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """Read them from a pytest configuration.

        Raises:
            UsageError: a value is out of range, a baseline cannot be read, or a report cannot be written.
        """

        def option(name: str) -> Path | None:
            value = config.getoption(f"glow_{name}")
            return Path(value) if value else None

        named = [word.strip() for words in config.getoption("glow_backends") for word in words.split(",")]
        bundles = tuple(Path(bundle) for bundle in config.getoption("glow_bundle"))
        if len({bundle.resolve() for bundle in bundles}) < len(bundles):
            raise UsageError("--glow-bundle names a bundle twice")
        factor = config.getoption("glow_baseline_factor")
        check_factor(factor)
        options = cls(
            bundles=bundles,
            settings=VerifySettings(
                backends=tuple(named) or None,
                ckpt=option("ckpt"),
                data=config.getoption("glow_data"),
                limit=config.getoption("glow_limit"),
                batch=config.getoption("glow_batch"),
                device=config.getoption("glow_device"),
                resize=config.getoption("glow_resize"),
                trust_engine=config.getoption("glow_trust_engine"),
                steps=config.getoption("glow_steps"),
                stress=config.getoption("glow_stress"),
                baseline_factor=factor,
            ),
            baselines=tuple(read_baseline(path) for path in config.getoption("glow_baseline")),
            json=option("json"),
            report=option("report"),
        )
        options._check()
        return options

    def _check(self) -> None:
        from glow_deploy.engines.device import parse_device

        parse_device(self.settings.device)
        if self.json is not None:
            refuse_folder(self.json)
            if not self.json.parent.is_dir():
                raise UsageError(f"{self.json.parent}: no such folder to write {self.json.name} in")
        if self.report is not None:
            check_report_target(self.report)
        ckpt = self.settings.ckpt
        if ckpt is not None and not ckpt.is_file():
            raise UsageError(f"--glow-ckpt {ckpt}: no such file")
        if ckpt is not None and importlib.util.find_spec("torch") is None:
            raise UsageError("--glow-ckpt needs torch, which is not installed: pip install 'glow-deploy[train]'")


def target_of(path: Path, bundle: Path, *, bundles: tuple[Path, ...]) -> Path:
    """Where the report of one bundle goes: `path`, or with several bundles `path` with the bundle's name in it."""
    if len(bundles) == 1:
        return path
    names = [other.resolve().name for other in bundles]
    name = bundle.resolve().name
    suffix = f"-{bundles.index(bundle) + 1}" if names.count(name) > 1 else ""
    return path.with_name(f"{path.stem}-{name}{suffix}{path.suffix}")
