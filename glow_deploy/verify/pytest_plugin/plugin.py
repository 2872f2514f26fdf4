"""The plugin's command-line options. Nothing else happens unless `--glow-bundle` is given."""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of which begin with `--glow-`."""
    group = parser.getgroup("glow-deploy", "invertibility of exported Glow models (glow-deploy)")
    group.addoption(
        "--glow-bundle",
        action="append",
        default=[],
        metavar="BUNDLE",
        help="verify this bundle: one test per pair of backends and image set, per backend against float64, per engine "
        "against itself and per verdict; may be repeated",
    )
    group.addoption(
        "--glow-backends",
        action="append",
        default=[],
        metavar="A,B",
        help="only these, and an error where one cannot run; without it every backend usable here",
    )
    group.addoption(
        "--glow-data", metavar="SPEC", help="fresh images beside the golden ones, as `verify --data` takes them"
    )
    group.addoption("--glow-limit", type=int, metavar="N", help="at most this many images of --glow-data")
    group.addoption("--glow-resize", action="store_true", help="fit pictures of another size instead of refusing them")
    group.addoption(
        "--glow-ckpt",
        metavar="CKPT",
        help="the checkpoint of the bundle: adds the PyTorch backends and their reference",
    )
    group.addoption("--glow-batch", type=int, default=32, metavar="N", help="images run at once (default: 32)")
    group.addoption(
        "--glow-device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        help="where to run (default: auto); cpu leaves the GPU backends out",
    )
    group.addoption("--glow-trust-engine", action="store_true", help="run plans without a matching sidecar")
    group.addoption("--glow-steps", action="store_true", help="also the error after every step, for the reports")
    group.addoption("--glow-stress", action="store_true", help="also stress the model, for the reports")
    group.addoption(
        "--glow-baseline",
        action="append",
        default=[],
        metavar="FILE",
        help="a report of `verify --json` that no figure may rise beyond; one for each bundle",
    )
    group.addoption(
        "--glow-baseline-factor",
        type=float,
        default=1.5,
        metavar="X",
        help="what a figure may grow to, as a multiple of the baseline's (default: 1.5)",
    )
    group.addoption("--glow-json", metavar="FILE", help="also write the report of `verify --json`, the next baseline")
    group.addoption("--glow-report", metavar="FILE.html", help="also write the report for people")


def pytest_configure(config: pytest.Config) -> None:
    """Register what collects and measures, if a bundle is named."""
    if not config.getoption("glow_bundle"):
        return
    from .suite import Suite

    config.addinivalue_line("markers", "glow_deploy: a figure of the bundle named by --glow-bundle")
    config.pluginmanager.register(Suite.of(config), "glow-deploy-suite")
