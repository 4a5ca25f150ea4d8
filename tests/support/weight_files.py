"""Small files of weights, right and wrong, without any library."""

import json
import struct
from collections.abc import Mapping
from typing import Any

Entry = Mapping[str, Any]


def with_header(header: bytes, data: bytes = b"") -> bytes:
    """Return a file with that header, whatever it says."""
    return struct.pack("<Q", len(header)) + header + data


def safetensors(*tensors: tuple[str, str, list[int], bytes], metadata: Entry | None = None) -> bytes:
    """Return a good file of tensors, each a name, a type, a shape and its bytes."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    data = b""
    for name, dtype, shape, content in tensors:
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return with_header(json.dumps(entries).encode(), data)


def floats(*values: float) -> bytes:
    """Return numbers as F32."""
    return struct.pack(f"<{len(values)}f", *values)


def weights(*values: float) -> bytes:
    """Return a good file with one F32 tensor `weight`."""
    return safetensors(("weight", "F32", [len(values)], floats(*values)))
