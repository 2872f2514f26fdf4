"""`glow-deploy verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.console import Output
from ..common.left_out import left_out_file, write_left_out
from ..common.openmp import wait_briefly
from ..common.options import (
    SIGNATURE_PANEL,
    Backends,
    Batch,
    CertificateRoot,
    Checkpoint,
    Data,
    Device,
    Identity,
    Issuer,
    Json,
    PublicKey,
    Quiet,
    Resize,
    Seed,
    SkipUnreadable,
    Threads,
    TrustEngine,
)
from ..common.reading import Depth, FloatRange, Layout, reading_of

if TYPE_CHECKING:
    from glow_deploy.data import LeftOut
    from glow_deploy.verify import VerifyReport


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `export` wrote.")],
    backend: Backends = None,
    ckpt: Checkpoint = None,
    data: Data = None,
    outputs: Annotated[
        Path | None,
        typer.Option(
            "--outputs",
            metavar="DIR|FILE.npz",
            help="Also judge what another program made of the golden images, which `golden` wrote for it.",
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THEIRS=OURS",
            help="Where --outputs names a tensor otherwise: output_0=encoder.z1. May be repeated.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Take at most this many images of --data.")
    ] = None,
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
    layout: Layout = None,
    float_range: FloatRange = None,
    depth: Depth = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="Also measure the error after every step of flow, and the error budget.")
    ] = False,
    steps_images: Annotated[int, typer.Option(metavar="N", min=1, help="How many images --steps looks at.")] = 16,
    stress: Annotated[
        bool,
        typer.Option(
            "--stress",
            help="Also try foreign images, hot latents, repeated passes and runs. With --ckpt, also attack images by "
            "half a bin.",
        ),
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare with this report of an earlier run, which --json wrote."),
    ] = None,
    baseline_factor: Annotated[
        float, typer.Option(metavar="X", min=1.0, help="An error may grow to this multiple of the baseline's.")
    ] = 1.5,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write the report as one HTML file.")
    ] = None,
    random_draws: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Decode this many random latents at each temperature. They are reported and never fail.",
        ),
    ] = 64,
    seed: Seed = 0,
    batch: Batch = 32,
    largest_batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Try batch sizes up to N. Without it, up to the largest that a plan takes, and to 64 in ONNX Runtime.",
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long a server may take for one answer.")
    ] = 60.0,
    require_signature: Annotated[
        bool,
        typer.Option(
            "--require-signature",
            help="Refuse a bundle without a valid signature of the one named below. Naming one is enough.",
            rich_help_panel=SIGNATURE_PANEL,
        ),
    ] = False,
    public_key: PublicKey = None,
    certificate_root: CertificateRoot = None,
    identity: Identity = None,
    issuer: Issuer = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Also print every failure, and every limit with where it comes from."),
    ] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure whether a bundle is still an invertible flow, on every pair of backends.

    The first line is the answer. What failed, four verdicts (round trip, likelihood, samples, weights) and the figures
    follow. The exit code is 1 if the model is unsound, or if an error rose above the --baseline.

    It encodes on A and decodes on B for all backends that this machine can use, and compares latents and likelihood
    with the trained model in float64. The bundle brings golden vectors for that. --data adds fresh images, and --ckpt
    adds the trained model itself. Only --json and --report write files.

    --backend triton=HOST:PORT judges a server that runs the bundle: Triton, `glow-deploy serve`, or any other of the
    Open Inference Protocol (KServe v2) over HTTP. Needs the extra `serving`.
    """
    wait_briefly()
    from glow_deploy.errors import UnsoundModelError, UsageError
    from glow_deploy.verify import VerifySettings, check_report_target, report_tables, write_html
    from glow_deploy.verify import verify as measure

    output = Output(quiet=quiet, json=json)
    settings = VerifySettings(
        backends=tuple(backend) if backend else None,
        ckpt=ckpt,
        data=data,
        outputs=outputs,
        rename=tuple(rename or ()),
        limit=limit,
        batch=batch,
        largest_batch=largest_batch,
        device=device,
        resize=resize,
        skip_unreadable=skip_unreadable,
        reading=reading_of(layout=layout, float_range=float_range, depth=depth),
        threads=threads,
        trust_engine=trust_engine,
        timeout=timeout,
        random_draws=random_draws,
        seed=seed,
        steps=steps,
        steps_images=steps_images,
        stress=stress,
        baseline=baseline,
        baseline_factor=baseline_factor,
        require_signature=require_signature,
        public_key=public_key,
        certificate_root=certificate_root,
        identity=identity,
        issuer=issuer,
    )
    if json is not None and json != "-" and not Path(json).parent.is_dir():
        raise UsageError(f"--json {json}: no such folder; name a file in one that is there")
    if report is not None:
        check_report_target(report)
        if json is not None and json != "-" and Path(json).resolve() == report.resolve():
            raise UsageError(f"--json and --report both name {report}; give each a file of its own")
    left_out: list[LeftOut] = []
    with output.progress() as bars:
        found = measure(bundle, settings=settings, progress=bars.stage, on_left_out=left_out.extend)
    output.show(report_tables(found, verbose=verbose))
    if not verbose:
        output.say("\n--verbose also prints every failure, and every limit with where it comes from")
    output.write_json(found.to_dict(), schema="verify")
    if skip_unreadable:
        for file in (report, Path(json) if json not in (None, "-") else None):
            if file is not None:
                write_left_out(left_out_file(file), left_out)
                break
    if report is not None:
        write_html(found, report)
        output.say(f"wrote {report}")
    if not found.sound:
        raise UnsoundModelError(f"{_blamed(bundle, found)} is unsound: {_reason(found)}")
    if found.baseline is not None and not found.baseline.passed:
        raise UnsoundModelError(f"{bundle} is sound, but {found.baseline}")


def _blamed(bundle: object, report: VerifyReport) -> str:
    """What is unsound: a server where every failed check is of it, else the bundle."""
    from glow_deploy.kserve import is_remote

    where = [[word.strip(",") for word in failure.where.split()] for failure in report.failures]
    for backend in report.backends:
        if where and is_remote(backend.name) and all(backend.name in words for words in where):
            return f"{backend.name}, held to {bundle},"
    return str(bundle)


def _reason(report: VerifyReport) -> str:
    if not report.failures:
        return "nothing was examined"
    checks = "1 check failed" if len(report.failures) == 1 else f"{len(report.failures)} checks failed"
    return f"{checks}; the first: {report.failures[0]}"
