"""Judges pip-audit's reports: a package that no database knew was not checked, and what was not checked does not pass."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.utils import canonicalize_name

NONE_KNOWN, VULNERABLE, NOT_CHECKED = 0, 1, 2


def judge(required: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Return the exit code for the packages `required`, and what to print. Each report is of another database; one that knows a package is enough."""
    checked: dict[str, list[str]] = {}
    for report in reports:
        for package in report.get("dependencies", []):
            if "vulns" in package:
                found = [
                    f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'no version'}"
                    for each in package["vulns"]
                ]
                checked.setdefault(canonicalize_name(package["name"]), []).extend(found)
    vulnerable = sorted({line for lines in checked.values() for line in lines})
    unknown = [name for name in required if name not in checked]
    if vulnerable:
        return VULNERABLE, vulnerable
    if unknown or not required:
        named = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        return NOT_CHECKED, [f"could not check {len(unknown)} of {len(required)} packages ({named}): no vulnerability database was reached that knows them"]
    return NONE_KNOWN, [f"no known vulnerability in {len(required)} packages"]


def required_names(requirements: str) -> list[str]:
    """Return the packages of a file of requirements with hashes, of those whose marker fits this Python (pip-audit leaves out the others)."""
    names = []
    for line in requirements.splitlines():
        if "==" not in line or line.startswith((" ", "#", "-")):
            continue
        name, _, rest = line.partition("==")
        marker = rest.partition(";")[2].rstrip(" \\").strip()
        if not marker or Marker(marker).evaluate():
            names.append(canonicalize_name(name.partition("[")[0].strip()))
    return names


def main(folder: Path) -> int:
    """Judge every NAME.txt of `folder` by its reports NAME.txt.*.json, print the verdicts and return the worst exit code."""
    codes = []
    for requirements in sorted(folder.glob("*.txt")):
        reports = [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"{requirements.name}.*.json")) if path.stat().st_size]
        code, lines = judge(required_names(requirements.read_text(encoding="utf-8")), reports)
        codes.append(code)
        for line in lines:
            print(f"{requirements.stem}: {line}")
    # A vulnerability is worse news than not knowing.
    return VULNERABLE if VULNERABLE in codes else max(codes, default=NOT_CHECKED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
