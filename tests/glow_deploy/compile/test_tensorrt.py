"""Options of standard TensorRT, set on the builder configuration of tensorrt_rtx, which has the same names."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from glow_deploy.compile import CompileSettings, compile_bundle, plans
from glow_deploy.compile import tensorrt as options
from glow_deploy.compile.tensorrt import TimingCache, configure_tensorrt
from glow_deploy.engines.trt_module import keep_log
from glow_deploy.errors import CompileError, MissingDependencyError, UsageError

trt = pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def config():
    log = keep_log(trt)
    builder = trt.Builder(log)
    return builder.create_builder_config()


def test_flags_are_set_only_when_asked_for(config):
    flags = (trt.BuilderFlag.VERSION_COMPATIBLE, trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    level = config.builder_optimization_level
    configure_tensorrt(trt, config, CompileSettings(flavor="tensorrt"))
    assert [config.get_flag(flag) for flag in flags] == [False, False]
    assert config.builder_optimization_level == level
    wanted = CompileSettings(flavor="tensorrt", opt_level=1, version_compatible=True)
    configure_tensorrt(trt, config, wanted)
    assert [config.get_flag(flag) for flag in flags] == [True, True]
    assert config.builder_optimization_level == 1


@pytest.mark.parametrize("wanted", [False, True])
def test_hardware_compatibility_is_set_only_when_asked_for(wanted):
    # On a plain object: tensorrt_rtx has the property but ignores what is assigned to it.
    config = SimpleNamespace(hardware_compatibility_level=None)
    assert hasattr(trt.IBuilderConfig, "hardware_compatibility_level")
    configure_tensorrt(trt, config, CompileSettings(flavor="tensorrt", hardware_compatible=wanted))
    assert config.hardware_compatibility_level == (trt.HardwareCompatibilityLevel.AMPERE_PLUS if wanted else None)


class Cache:
    def __init__(self, data):
        self.data = data

    def serialize(self):
        return self.data + b"+"


class Config:
    """What the timing cache uses of a builder configuration."""

    def __init__(self, *, accepts=True):
        self.accepts, self.cache = accepts, None

    def create_timing_cache(self, data):
        return Cache(data)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.cache = cache
        return self.accepts

    def get_timing_cache(self):
        return self.cache


def test_timings_pass_from_build_to_build_and_into_the_file(tmp_path):
    path = tmp_path / "timings"
    cache = TimingCache(path)
    for expected in (b"", b"+"):
        config = Config()
        cache.attach(config)
        assert config.cache.data == expected
        cache.collect(config)
    assert not path.exists()
    with ExitStack() as stack:
        cache.save(stack)
        assert not path.exists()
    assert path.read_bytes() == b"++"
    config = Config()
    TimingCache(path).attach(config)
    assert config.cache.data == b"++"


def test_a_foreign_timing_cache_is_refused(tmp_path):
    with pytest.raises(CompileError, match="delete it"):
        TimingCache(tmp_path / "c").attach(Config(accepts=False))


def test_without_a_path_timings_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "atomic_path", lambda *a: pytest.fail("wrote a file"))
    cache = TimingCache(None)
    config = Config()
    cache.attach(config)
    cache.collect(config)
    with ExitStack() as stack:
        cache.save(stack)


def test_a_timing_cache_that_cannot_be_kept_is_named_beforehand(tmp_path):
    with pytest.raises(CompileError, match="no folder"):
        TimingCache(tmp_path / "nowhere" / "timings")
    with pytest.raises(CompileError, match="is a folder, not a file that can be read"):
        TimingCache(tmp_path)


def test_the_names_of_the_timing_cache_exist():
    for name in ("create_timing_cache", "set_timing_cache", "get_timing_cache"):
        assert hasattr(trt.IBuilderConfig, name)
    assert hasattr(trt.ITimingCache, "serialize")
    assert not hasattr(trt.IBuilderConfig, "load_timing_cache")


def test_a_missing_package_or_gpu_is_one_line(bundle, monkeypatch):
    settings = CompileSettings(flavor="tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match=r"glow-deploy\[tensorrt\].*pypi\.nvidia\.com"):
        compile_bundle(bundle, settings=settings)
    monkeypatch.setattr(plans, "import_tensorrt", lambda flavor: trt)

    def no_gpu(index):
        raise MissingDependencyError("No NVIDIA GPU can be used here: no NVIDIA driver is installed.")

    monkeypatch.setattr(plans, "Cuda", no_gpu)
    with pytest.raises(MissingDependencyError, match="No NVIDIA GPU"):
        compile_bundle(bundle, settings=settings)
    with pytest.raises(UsageError, match='flavor="rtx"'):
        compile_bundle(bundle, settings=CompileSettings(flavor="tensorrt", device="cpu"))
    assert not list(bundle.glob("*.trt*"))


@pytest.fixture
def standard(monkeypatch):
    """All of standard TensorRT but the kernels: tensorrt_rtx builds in its place, and its header is relabelled."""

    class Gpu:
        target = "sm89"

    class Header:
        flavor, targets = "tensorrt", None

    monkeypatch.setattr(plans, "import_tensorrt", lambda flavor: trt)
    monkeypatch.setattr(plans, "Cuda", lambda index: Gpu)
    monkeypatch.setattr(plans, "read_header", lambda data, source: Header)
    monkeypatch.setattr(TimingCache, "attach", lambda self, config: None)  # deprecated in tensorrt_rtx, needs a GPU
    monkeypatch.setattr(TimingCache, "collect", lambda self, config: setattr(self, "_data", b"timings"))


def test_timings_that_cannot_be_written_leave_the_earlier_plans(bundle, standard, monkeypatch, tmp_path):
    timings = tmp_path / "timings"
    settings = CompileSettings(flavor="tensorrt", timing_cache=timings)
    compile_bundle(bundle, settings=settings)
    assert timings.read_bytes() == b"timings"
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    timings.unlink()

    def collect(self, config):
        self._data = b"other timings"
        timings.mkdir(exist_ok=True)  # while it was compiling, a folder came in the way

    monkeypatch.setattr(TimingCache, "collect", collect)
    with pytest.raises(UsageError, match=r"cannot write .*timings"):
        compile_bundle(bundle, settings=CompileSettings(flavor="tensorrt", timing_cache=timings, tf32=True), force=True)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_the_standard_path_builds_from_parser_to_sidecar(bundle, standard):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder, decoder = compile_bundle(
            bundle, settings=CompileSettings(flavor="tensorrt", opt_level=2, max_batch=16)
        )
    assert (encoder.path.name, decoder.path.name) == ("encoder.trt", "decoder.trt")
    assert encoder.sidecar.gpus == ("sm89",)
    assert encoder.sidecar.flavor == "tensorrt"
    assert encoder.sidecar.profile == (1, 8, 16)
