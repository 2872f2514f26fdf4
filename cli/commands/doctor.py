"""`glow-deploy doctor`."""

from __future__ import annotations

from ..common.console import Output
from ..common.options import Json, Quiet


def doctor(json: Json = None, quiet: Quiet = False) -> None:
    """Show what this machine can run, and what to change.

    Python and packages, whether they agree on a CUDA version, the GPUs, which ONNX Runtime providers really work
    (tried, not listed), OpenVINO's devices, the TF32 state, and what each computes float32 convolutions in (measured).
    """
    from rich.table import Table

    from glow_deploy.doctor import examine

    output = Output(quiet=quiet, json=json)
    report = examine()
    output.write_json(report, schema="doctor")
    output.say(f"glow-deploy {report.glow_deploy}, Python {report.python} ({report.executable})")
    output.say(f"{report.platform}; {report.cpu}, {report.cores} cores usable")

    packages = Table(title="Packages", title_justify="left", box=None, pad_edge=False)
    for column in ("package", "version", "for"):
        packages.add_column(column)
    for name, version in report.packages.items():
        packages.add_row(name, version or "[dim]not installed[/]", report.purposes[name])
    output.say("")
    output.show(packages)

    output.say("")
    if any(link.major is not None for link in report.cuda):
        output.say(f"CUDA: the packages {'agree' if report.cuda_majors_agree else 'DISAGREE'}")
    else:
        output.say("CUDA: no package here was built for it")
    for link in report.cuda:
        output.say(f"  {link.package}: {f'CUDA {link.major}' if link.major else 'no CUDA'} ({link.evidence})")
    output.say(f"GPUs: {report.gpu_detail}")
    for gpu in report.gpus:
        output.say(
            f"  {gpu.index}: {gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory_mib} MiB, "
            f"driver {gpu.driver}"
        )
    output.say("ONNX Runtime providers, tried:")
    for provider in report.providers:
        output.say(f"  {provider.name}: {'works' if provider.usable else f'does not work ({provider.detail})'}")
    output.say(f"OpenVINO devices: {report.openvino_detail}")
    for device, called in report.openvino_devices.items():
        output.say(f"  {device}: {called}")
    output.say("onnxruntime-web, not tried:")
    for name, problem in report.web.items():
        output.say(f"  {name}: {f'cannot run ({problem})' if problem else 'there'}")
    output.say(f"TF32: {report.tf32}")
    for arithmetic in report.arithmetic:
        output.say(f"  {arithmetic.backend} computes float32 convolutions in: {arithmetic.text} ({arithmetic.detail})")
        output.say(f"  {arithmetic.backend} convolves integers, as exact graphs need it: {arithmetic.integers}")
    for name, value in report.environment.items():
        output.say(f"  {name}={value}")
    output.say("")
    output.say("Advice:" if report.advice else "Nothing to change.")
    for line in report.advice:
        output.say(f"  - {line}")
