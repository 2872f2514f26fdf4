"""Files as Polygraphy and trtexec write them."""

from __future__ import annotations

import base64
import io
import json

import numpy as np


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return base64.b64encode(buffer.getvalue()).decode()


def polygraphy(*iterations, wrapped=True, runners=1):
    """As `polygraphy run --save-outputs` writes it; older releases have no object around the array."""

    def value(array):
        inner = {"array": npy(array), "polygraphy_class": "ndarray"}
        return {"values": inner, "polygraphy_class": "LazyArray"} if wrapped else inner

    results = [{"outputs": {name: value(array) for name, array in outputs.items()}} for outputs in iterations]
    return json.dumps({"lst": [[f"runner-{n}", results] for n in range(runners)]}).encode()


def trtexec(tensors, *, dims="1x"):
    """As `trtexec --exportOutput` writes it: six digits, and dimensions in either of two ways."""
    entries = []
    for name, array in tensors.items():
        sizes = "x".join(map(str, array.shape)) if dims == "1x" else f"({', '.join(map(str, array.shape))})"
        values = ", ".join(f"{value:g}" for value in array.ravel())
        entries.append(f'{{ "name" : "{name}", "dimensions" : "{sizes}", "values" : [ {values} ] }}')
    return f"[\n  {', '.join(entries)}\n]\n".encode()


def npy_objects():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return base64.b64encode(buffer.getvalue()).decode()
