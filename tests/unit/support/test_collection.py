"""No test file lies where pytest does not look: by default it leaves out folders of some names, and ours has one named `build`."""

from fnmatch import fnmatch
from pathlib import Path

TESTS = Path(__file__).parents[2]


def test_no_folder_of_tests_is_left_out(pytestconfig):
    files = set(TESTS.rglob("test_*.py"))
    assert TESTS / "unit/build/test_objects.py" in files
    folders = {folder for file in files for folder in file.relative_to(TESTS).parent.parts}
    assert {folder for folder in folders for pattern in pytestconfig.getini("norecursedirs") if fnmatch(folder, pattern)} == set()
