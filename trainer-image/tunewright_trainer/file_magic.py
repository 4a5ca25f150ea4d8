"""What a file is by its first bytes, whatever its name says."""

import pickletools
from typing import Final

HEAD_BYTES: Final = 65_536
"""Enough for every signature, and for a pickle in the text protocols that is small."""

_SIGNATURES: Final = (
    (b"PK\x03\x04", "a zip archive (PyTorch keeps pickles in those)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x93NUMPY", "a NumPy file (it may hold pickles)"),
    (b"\x89HDF\r\n", "an HDF5 file (it may hold code)"),
    (b"GGUF", "a GGUF file"),
    (b"\x7fELF", "a program"),
    (b"#!", "a script"),
)
_TAR: Final = (257, b"ustar")
_IMPORTS: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
"""Opcodes that bring in a name of a module: without one, a pickle calls nothing."""


def dangerous_content(head: bytes) -> str | None:
    """Return what a file that begins with `head` is if it is of a kind that is never read (as in "is a pickle"), else None."""
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return "a pickle"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[_TAR[0] :].startswith(_TAR[1]):
        return "a tar archive"
    return "a pickle" if _is_text_pickle(head) else None


def _is_text_pickle(head: bytes) -> bool:
    """Return whether `head` is a whole pickle in protocol 0 or 1, which have no signature: the opcodes are read, not run."""
    if not head.rstrip().endswith(b"."):
        return False
    try:
        opcodes = [opcode.name for opcode, _, _ in pickletools.genops(head)]
    except Exception:
        # Text that is no pickle breaks the reader in many ways: ValueError, UnicodeDecodeError, struct.error.
        return False
    return bool(_IMPORTS.intersection(opcodes))
