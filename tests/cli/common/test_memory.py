from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

from glow_cli.common.memory import keep_freed_memory


def test_large_blocks_come_from_the_heap_and_the_heap_is_kept(monkeypatch):
    told = {}
    library = SimpleNamespace(mallopt=told.__setitem__)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    # M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's malloc.h; each value fits a C int.
    assert told == {-1: 2**31 - 1, -2: 2**26, -3: 2**30}


def test_other_libraries_are_left_alone(monkeypatch):
    told = []

    def missing(name):
        raise OSError(name)

    for platform, library in (
        ("linux", missing),
        ("linux", lambda name: object()),
        ("darwin", lambda name: SimpleNamespace(mallopt=lambda *values: told.append(values))),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr(ctypes, "CDLL", library)
        keep_freed_memory()
    assert told == []
