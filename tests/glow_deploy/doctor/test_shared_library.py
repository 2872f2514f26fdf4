import struct
import subprocess
from pathlib import Path
from shutil import which

import pytest

from glow_deploy.doctor.shared_library import needed_libraries


def elf(needed: list[str]) -> bytes:
    """A 64-bit ELF file with nothing but a loaded segment and a dynamic section."""
    base, dynamic_at = 0x10000, 64 + 2 * 56
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    offsets = [strings.index(name.encode() + b"\0") for name in needed]
    entries = [(1, offset) for offset in offsets]
    size = 16 * (len(entries) + 3)
    strings_at = dynamic_at + size
    entries += [(5, base + strings_at), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    total = strings_at + len(strings)
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, total, total, 4096)
    section = struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, base + dynamic_at, base + dynamic_at, size, size, 8)
    return header + load + section + dynamic + strings


def test_needed_libraries_in_order(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(elf(["libcudart.so.13", "libm.so.6"]))
    assert needed_libraries(path) == ("libcudart.so.13", "libm.so.6")


def test_every_truncation_is_no_elf_file(tmp_path):
    whole = elf(["libcudart.so.13"])
    path = tmp_path / "lib.so"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert needed_libraries(path) == (), length


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01" + bytes(100), b"MZ" + bytes(100)])
def test_other_files_need_nothing(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert needed_libraries(path) == ()
    assert needed_libraries(tmp_path / "missing") == ()


@pytest.mark.skipif(which("readelf") is None, reason="readelf is not installed to compare with")
def test_agrees_with_readelf():
    import onnxruntime

    compared = 0
    for path in sorted((Path(onnxruntime.__file__).parent / "capi").glob("*.so")):
        printed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        lines = [line for line in printed.splitlines() if "(NEEDED)" in line]
        assert list(needed_libraries(path)) == [line.partition("[")[2].partition("]")[0] for line in lines]
        compared += len(lines)
    assert compared
