"""For tests that look back at what all others made the operator do: that they run last, and whether the others ran at all."""

from pathlib import Path
from typing import Final

import pytest

PARTIAL: Final = pytest.StashKey[bool]()


def run_last(items: list[pytest.Item], file: Path) -> None:
    """Move the tests of `file` behind the others of its folder, whatever the order of the files."""
    places = [place for place, item in enumerate(items) if item.path.parent == file.parent]
    in_order = sorted((items[place] for place in places), key=lambda item: item.path == file)
    for place, item in zip(places, in_order, strict=True):
        items[place] = item


def remember_deselected(items: list[pytest.Item]) -> None:
    """Remember that not everything runs: what is granted may then not be used."""
    for item in items:
        item.session.stash[PARTIAL] = True


def is_whole(session: pytest.Session, folder: Path) -> bool:
    """Return whether every test of `folder` runs in this session, as far as the files tell."""
    return not session.stash.get(PARTIAL, False) and set(folder.glob("test_*.py")) <= {item.path for item in session.items}
