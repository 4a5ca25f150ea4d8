"""Checks the header of a safetensors file before any library reads it: bounded, and true to the bytes that follow. Reads the header only.

The format: 8 bytes with the header's length (little endian), the header in JSON, then the bytes of all tensors without a gap.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_HEADER_BYTES: Final = 100_000_000
"""The format's own limit."""

BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element, by the format's names of types."""

_LENGTH_BYTES: Final = 8
_MAX_TENSORS: Final = 1_000_000
_MAX_DIMENSIONS: Final = 64


class HeaderError(ValueError):
    """What is wrong with a header, without the file's name."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file; its bytes are from `start` to `end`, counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """The tensors in the order of their bytes, and where those begin in the file."""

    tensors: tuple[Tensor, ...]
    data_start: int

    @property
    def names(self) -> frozenset[str]:
        """The names of all tensors."""
        return frozenset(tensor.name for tensor in self.tensors)


def read_header(path: Path) -> Header:
    """Return the checked header of a file; raises HeaderError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(_LENGTH_BYTES)
        length = header_length(prefix, size)
        return Header(parse_header(file.read(length), size - _LENGTH_BYTES - length), _LENGTH_BYTES + length)


def header_length(prefix: bytes, file_size: int) -> int:
    """Return the length that a file's first 8 bytes state; raises HeaderError when it is over the limit or over the file."""
    if len(prefix) < _LENGTH_BYTES:
        raise HeaderError(f"has {len(prefix)} bytes, too few for a header: it is truncated")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise HeaderError(f"states a header of {length} bytes, allowed are {MAX_HEADER_BYTES}")
    if length > file_size - _LENGTH_BYTES:
        raise HeaderError(f"states a header of {length} bytes, but only {file_size - _LENGTH_BYTES} follow: it is truncated")
    return length


def parse_header(text: bytes, data_bytes: int) -> tuple[Tensor, ...]:
    """Return the tensors of a header that `data_bytes` of data follow, in their order there; raises HeaderError."""
    content = _parse_json(text)
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("has a `__metadata__` that is not a map of strings")
    if len(content) > _MAX_TENSORS:
        raise HeaderError(f"names {len(content)} tensors, allowed are {_MAX_TENSORS}")
    tensors = sorted((_tensor(name, value) for name, value in content.items()), key=lambda tensor: (tensor.start, tensor.end))
    end = 0
    for tensor in tensors:
        if tensor.end > data_bytes:
            raise HeaderError(f"places tensor `{_short(tensor.name)}` up to byte {tensor.end} of {data_bytes}: it is truncated, or the header lies")
        if tensor.start != end:
            kind = "overlaps the one before it" if tensor.start < end else "leaves a gap before it"
            raise HeaderError(f"places tensor `{_short(tensor.name)}` where it {kind} (byte {tensor.start}, expected {end})")
        end = tensor.end
    if end != data_bytes:
        raise HeaderError(f"has {data_bytes - end} bytes that belong to no tensor")
    return tuple(tensors)


def _parse_json(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise HeaderError("has a header that does not begin with `{`: it is no safetensors file")
    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except HeaderError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeaderError("has a header that is not JSON") from error
    assert isinstance(content, dict)  # it begins with `{`
    return content


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        # Two readers may take different ones, and what was checked is not what is loaded.
        raise HeaderError("names the same key twice in its header")
    return content


def _tensor(name: str, value: Any) -> Tensor:
    named = f"tensor `{_short(name)}`"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"describes {named} by other fields than dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise HeaderError(f"gives {named} a type that the format does not have")
    if not _are_counts(shape) or len(shape) > _MAX_DIMENSIONS:
        raise HeaderError(f"gives {named} a shape that is no list of sizes")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise HeaderError(f"gives {named} offsets that are not a begin and an end")
    bits, length = math.prod(shape) * BITS[dtype], offsets[1] - offsets[0]
    if bits != length * 8:
        takes = f"{bits // 8}" if bits % 8 == 0 else f"{bits // 8} and {bits % 8} bits"
        raise HeaderError(f"gives {named} {length} bytes, but {dtype} in shape {_short(str(shape))} takes {_short(takes)}")
    return Tensor(name, dtype, tuple(shape), offsets[0], offsets[1])


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 1 << 63 for each in value)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"
