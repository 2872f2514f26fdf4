"""Files that are no checkpoints, told by their first bytes, so that the refusal says what they are."""

from __future__ import annotations

from pathlib import Path

from glow_core.errors import CheckpointError

__all__ = ["refuse_other_kinds"]

_START = 512
_SHORTEST_TEXT = 8  # less may be the beginning of anything
_SIGNATURES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"ftrt": "a TensorRT plan",
    b"vtrt": "a TensorRT for RTX plan",
    b"\x93NUMPY": "a single NumPy array (.npy)",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive; unpack it first",
}
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".pkg", ".tar")


def refuse_other_kinds(path: Path) -> None:
    """Refuse a folder, and a file that its first bytes show to be of another kind.

    Raises:
        CheckpointError: it is no checkpoint file.
    """
    if path.is_dir():
        held = sorted(item.name for item in path.iterdir() if item.suffix in _CHECKPOINTS and item.is_file())
        if held:
            advice = f"name one of the checkpoints in it: {', '.join(held[:5])}"
        elif (path / "manifest.json").is_file():
            advice = "it looks like a bundle: name the checkpoint that it was exported from"
        else:
            advice = "no checkpoint is in it: name the file that training wrote"
        raise CheckpointError(f"{path}: a folder, not a checkpoint file; {advice}")
    if not path.is_file():
        if path.exists():
            raise CheckpointError(f"{path}: a pipe, a device or a socket, not a checkpoint file")
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    kind = next((words for signature, words in _SIGNATURES.items() if start.startswith(signature)), None)
    if kind is None and _is_protobuf(start):
        kind = "an ONNX graph or another protobuf file"
    if kind is None and _is_text(start):
        kind = "a text file"
    if kind is not None:
        raise CheckpointError(f"{path}: {kind}, not a checkpoint; give the file that training wrote")


def _is_protobuf(start: bytes) -> bool:
    """ONNX begins with its IR version as field 1, a small number, and a field of text or of a message."""
    return len(start) > 8 and start[8:9] != b"{" and start[0] == 0x08 and start[1] < 0x40 and start[2] in (0x12, 0x3A)


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # more than a letter that was cut off
            return False
        text = start[: error.start].decode("utf-8")
    return len(text) >= _SHORTEST_TEXT and all(letter.isprintable() or letter in "\n\r\t" for letter in text)
