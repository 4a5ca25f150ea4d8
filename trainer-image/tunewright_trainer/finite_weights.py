"""Finds NaN and infinite weights in the bytes of a safetensors file, chunk by chunk, while they are read for their hash anyway.

A number is not finite when all bits of its exponent are set. Those bits are in its last byte or two (little endian), so that the C code behind
`bytes` looks through a chunk for them at more than a gigabyte per second, without numpy and without a copy in another type.
"""

from typing import Final

from tunewright_trainer.safetensors_header import Header, Tensor

_LAST_BYTES: Final[dict[str, tuple[int, bytes, int]]] = {
    # type: (bytes of an element, values of its last byte that an exponent of ones has, bits that must be set in the byte before)
    "F64": (8, b"\x7f\xff", 0xF0),
    "F32": (4, b"\x7f\xff", 0x80),
    "BF16": (2, b"\x7f\xff", 0x80),
    "F16": (2, b"\x7c\x7d\x7e\x7f\xfc\xfd\xfe\xff", 0),
    "F8_E5M2": (1, b"\x7c\x7d\x7e\x7f\xfc\xfd\xfe\xff", 0),
    "F8_E4M3": (1, b"\x7f\xff", 0),
}
"""Types without NaN and infinity, or that no model's weights have, are not looked into."""

_WIDEST: Final = 8


def has_non_finite(dtype: str, data: bytes) -> bool:
    """Return whether whole elements in `data` have a NaN or an infinity."""
    if dtype not in _LAST_BYTES:
        return False
    width, suspects, needed = _LAST_BYTES[dtype]
    last = data[width - 1 :: width]
    for suspect in suspects:
        element = last.find(suspect)
        while element >= 0:
            # Only numbers over 1e38 get here, which weights hardly ever are.
            if data[element * width + width - 2] & needed == needed or not needed:
                return True
            element = last.find(suspect, element + 1)
    return False


class FiniteScan:
    """Takes the bytes of a file in order; `broken` becomes the name of the first tensor with a NaN or an infinity."""

    def __init__(self, header: Header) -> None:
        self.broken: str | None = None
        self._tensors = iter(header.tensors)
        self._tensor: Tensor | None = next(self._tensors, None)
        self._start = header.data_start
        self._place = 0
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Look through the next bytes of the file."""
        begin, self._place = self._place, self._place + len(chunk)
        while self.broken is None and self._tensor is not None:
            first, end = self._start + self._tensor.start, self._start + self._tensor.end
            part = self._rest + chunk[max(first - begin, 0) : max(end - begin, 0)]
            # Elements are looked at whole: what is left of one waits for the next chunk.
            width = _LAST_BYTES.get(self._tensor.dtype, (_WIDEST,))[0]
            whole = len(part) if end <= self._place else len(part) - len(part) % width
            if has_non_finite(self._tensor.dtype, part[:whole]):
                self.broken = self._tensor.name
            if end > self._place:
                self._rest = part[whole:]
                return
            self._rest = b""
            self._tensor = next(self._tensors, None)
