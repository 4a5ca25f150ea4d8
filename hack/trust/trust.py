"""Writes docs/trust.md: what is claimed, the test or bench that shows it, and the figures of its last run here. It runs nothing itself.

It reads what the other targets left in dist/results/: junit files, and the last lines of benches. A claim whose test is gone, failed, was skipped or did not run is an error, and no page is written.
"""

import json
import os
import platform
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = ROOT / "hack/trust"
PAGE: Final = ROOT / "docs/trust.md"
RESULTS: Final = ROOT / "dist/results"


class Untrue(Exception):
    """A claim that its results do not show."""


@dataclass(frozen=True)
class Claim:
    """A line of the table. `shown_by` are test files, tests (FILE::NAME) or NAMES of benches; `figure` is filled in with what they recorded."""

    section: str
    text: str
    run: str
    shown_by: tuple[str, ...]
    figure: str


@dataclass
class Case:
    """One test with one set of parameters, and what it recorded by `record_property`."""

    outcome: str
    properties: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """The results of one target."""

    commit: str
    when: str
    cases: dict[str, list[Case]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def ran(self, name: str) -> bool:
        """Return whether a test of the folder that the run is named after is among the results."""
        return any(test.startswith(f"tests/{name}/") for test in self.cases)


def claims() -> list[Claim]:
    """Return the table's lines, from claims.yaml."""
    listed = yaml.safe_load((HERE / "claims.yaml").read_text(encoding="utf-8"))
    return [
        Claim(section, line["claim"], line["run"], tuple(line["shown_by"]), line.get("figure", "{passed} cases"))
        for section, lines in listed["claims"].items()
        for line in lines
    ]


def targets() -> dict[str, str]:
    """Return the make target of each run."""
    return dict(yaml.safe_load((HERE / "claims.yaml").read_text(encoding="utf-8"))["runs"])


def sums(cases: Iterable[Case]) -> dict[str, float | str]:
    """Return what the cases recorded: of a number that several recorded the sum, and as NAME_min the least."""
    found: dict[str, float | str] = {}
    for case in cases:
        for key, text in case.properties.items():
            try:
                number = float(text)
            except ValueError:
                found[key] = text
                continue
            number = int(number) if number.is_integer() else number
            found[f"{key}_min"] = min(number, float(found.get(f"{key}_min", number)))
            found[key] = number + float(found.get(key, 0))
    return {key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in found.items()}


def read_run(name: str, folder: Path = RESULTS) -> Run:
    """Return the newest results of a run, its own or those of `make test`; raises Untrue when there are none."""
    own, whole = (folder / f"{each}.xml" for each in (name, "test"))
    found = [_junit(own)] if own.exists() else []
    if whole.exists() and (run := _junit(whole)).ran(name):
        found.append(run)
    if found:
        return max(found, key=lambda run: run.when)
    printed = folder / f"{name}.txt"
    if printed.exists():
        lines = printed.read_text(encoding="utf-8").strip().splitlines()
        return Run(lines[0], datetime.fromtimestamp(printed.stat().st_mtime, UTC).isoformat(), figures=json.loads(lines[-1]))
    raise Untrue(f"there are no results of `make {targets()[name]}`")


def _junit(path: Path) -> Run:
    suite = ElementTree.parse(path).getroot().find("testsuite")
    assert suite is not None
    run = Run(suite.get("name", ""), suite.get("timestamp", ""))
    for case in suite.iter("testcase"):
        bad = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        recorded = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
        run.cases.setdefault(_test(case.get("classname", ""), case.get("name", "")), []).append(Case(bad, recorded))
    return run


def _test(classname: str, name: str) -> str:
    """Return FILE::NAME of a test, without its class and its parameters: tests.api.test_x.TestY, test_z[1] is tests/api/test_x.py::test_z."""
    module = re.sub(r"(\.test_\w+)\..*", r"\1", classname)
    return module.replace(".", "/") + ".py::" + name.partition("[")[0]


def figure(claim: Claim, run: Run) -> str:
    """Return the claim's figures; raises Untrue unless every test it names ran and passed."""
    if run.figures:
        return _filled(claim, run.figures)
    found: list[Case] = []
    for name in claim.shown_by:
        cases = [case for test, each in run.cases.items() if test == name or ("::" not in name and test.startswith(name + "::")) for case in each]
        if not cases:
            raise Untrue(f"{name} did not run in `make {targets()[claim.run]}`")
        if any(case.outcome in ("failure", "error") for case in cases):
            raise Untrue(f"{name} failed in `make {targets()[claim.run]}`")
        # A file may skip what another run shows (the trainer's libraries are in its image only); a claim may not rest on skipped tests alone.
        if not any(case.outcome == "passed" for case in cases) or ("::" in name and any(case.outcome == "skipped" for case in cases)):
            raise Untrue(f"{name} was skipped in `make {targets()[claim.run]}`")
        found += cases
    return _filled(claim, {**sums(found), "passed": sum(case.outcome == "passed" for case in found)})


def _filled(claim: Claim, values: Mapping[str, Any]) -> str:
    try:
        return claim.figure.format_map(values)
    except KeyError as missing:
        raise Untrue(f"`{claim.text}` shows {missing}, which its results do not have") from None


def table(lines: Iterable[Claim], runs: Mapping[str, Run]) -> str:
    """Return the table of all claims with their figures."""
    rows, section = ["| claim | shown by | run it | figures |", "|---|---|---|---|"], ""
    for claim in lines:
        if claim.section != section:
            section = claim.section
            rows.append(f"| **{section}** | | | |")
        names = ", ".join(f"`{name.removeprefix('tests/')}`" for name in claim.shown_by)
        rows.append(f"| {claim.text} | {names} | `make {targets()[claim.run]}` | {figure(claim, runs[claim.run])} |")
    return "\n".join(rows)


def origins(runs: Mapping[str, Run]) -> str:
    """Return when and of which commit the results are."""
    rows = ["| run | commit | day | tests |", "|---|---|---|---|"]
    for name, run in runs.items():
        tests = sum(case.outcome == "passed" for cases in run.cases.values() for case in cases) or "bench"
        rows.append(f"| `make {targets()[name]}` | `{run.commit}` | {run.when[:10]} | {tests} |")
    return "\n".join(rows)


def machine() -> str:
    """Describe this machine: figures of speed mean nothing without it."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({models[0] if models else platform.machine()}), {memory:.0f} GiB of memory, {'a' if Path('/dev/nvidiactl').exists() else 'no'} GPU"


def render(runs: Mapping[str, Run]) -> str:
    """Return the page."""
    template = (HERE / "template.md").read_text(encoding="utf-8")
    return template.replace("@MACHINE@", machine()).replace("@TABLE@", table(claims(), runs)).replace("@RUNS@", origins(runs))


def main() -> int:
    """Write the page, or print what is not shown; return the exit code."""
    wrong: list[str] = []
    runs: dict[str, Run] = {}
    for name in targets():
        try:
            runs[name] = read_run(name)
        except Untrue as error:
            wrong.append(str(error))
    for claim in claims():
        try:
            figure(claim, runs.get(claim.run, Run("", "")))
        except Untrue as error:
            wrong += [str(error)] if claim.run in runs else []
    if wrong:
        print(*dict.fromkeys(wrong), sep="\n", file=sys.stderr)
        return 1
    PAGE.write_text(render(runs), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(claims())} claims shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
