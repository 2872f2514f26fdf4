"""The Open Inference Protocol (KServe v2) over HTTP, from both ends: how tensors travel, and a client.

Triton Inference Server speaks it, and so do KServe, OpenVINO Model Server, MLServer and this package's own server.
The client is urllib3 with the protocol's JSON on top: the official one of Triton pins releases of protobuf, greenlet
and ml-dtypes that contradict what onnx and the other packages here need.
"""

from __future__ import annotations

from .address import Address, is_remote, parse_remote
from .client import KServeClient
from .tensors import Packed, datatype_of, pack, unpack

__all__ = ["Address", "KServeClient", "Packed", "datatype_of", "is_remote", "pack", "parse_remote", "unpack"]
