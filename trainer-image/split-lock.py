"""Splits an exported requirements file in two: torch with its CUDA libraries, and all the rest."""

import re
import sys
from pathlib import Path

TORCH = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")


def main(source: str, torch: str, rest: str) -> None:
    """Writes each requirement, with its hashes, to one of the two files."""
    blocks = re.split(r"\n(?=[a-zA-Z])", Path(source).read_text())
    parts: dict[bool, list[str]] = {True: [], False: []}
    for block in blocks:
        parts[bool(TORCH.match(block))].append(block.strip())
    if not parts[True]:
        sys.exit("the lock holds no torch")
    Path(torch).write_text("\n".join(parts[True]) + "\n")
    Path(rest).write_text("\n".join(parts[False]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
