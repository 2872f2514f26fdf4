"""What is refused is told in one style: no capital unless a name needs it, no full stop, one line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = re.compile(r"(ONNX Runtime|OpenVINO|PyTorch|TensorRT|TensorBoard|CUDA|NVIDIA|Python|Pillow|Ctrl-C)\b")
PLACEHOLDER = "x"  # stands for what an f-string puts there


def refusals(source: str) -> list[tuple[int, str]]:
    """The line and the text of every message that an error is made with."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            text = _text(node.args[0])
            if name.endswith("Error") and text:
                found.append((node.lineno, text))
    return found


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def fault(text: str) -> str | None:
    """What is against the style in a message, or None."""
    if text[:1].isupper() and not NAMES.match(text):
        return "begins with a capital"
    if text.rstrip().endswith("."):
        return "ends with a full stop"
    if re.search(r"\. [A-Z]", text):
        return "holds two sentences with a full stop between them: use a colon or a semicolon"
    return "holds a line break" if "\n" in text else None


def test_every_refusal_is_written_in_one_style():
    files = [path for folder in ("glow_core", "glow_deploy", "cli") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [(path, *refusal) for path in files for refusal in refusals(path.read_text())]
    assert len(found) > 700
    wrong = [f"{path.relative_to(ROOT)}:{line}: {text!r} {why}" for path, line, text in found if (why := fault(text))]
    assert not wrong, "\n".join(wrong)


def test_the_style_is_told_apart():
    source = """
raise UsageError(f"Images of {n} steps")
raise EngineError(f"{a} is open.")
raise ValueError("ONNX Runtime: x")
"""
    assert [(line, fault(text)) for line, text in refusals(source)] == [
        (2, "begins with a capital"),
        (3, "ends with a full stop"),
        (4, None),
    ]
    assert fault("it is damaged. Compile it again") is not None
