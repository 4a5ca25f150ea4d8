"""docs/trust.md cannot lie: it names tests that exist, matches its sources, and is not written from a run in which one failed, was skipped or is missing."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def load():
    spec = importlib.util.spec_from_file_location("trust", ROOT / "hack/trust/trust.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["trust"] = module
    spec.loader.exec_module(module)
    return module


trust = load()
CLAIMS = trust.claims()
TEST = "tests/api/test_x.py"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda each: each.text[:40])
def test_what_a_claim_names_exists(claim):
    assert claim.run in trust.targets()
    target = trust.targets()[claim.run].split()[0]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert claim.shown_by
    for name in claim.shown_by:
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), name
        assert not test or re.search(rf"^ *(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), name


def test_no_claim_is_made_twice():
    assert len({claim.text for claim in CLAIMS}) == len(CLAIMS)


def test_the_page_says_what_its_sources_say():
    """Figures may be older than the tests; claims and prose may not."""
    page = trust.PAGE.read_text().splitlines()
    unmeasured = [trust.Claim(each.section, each.text, each.run, each.shown_by, "?") for each in CLAIMS]
    expected = trust.table(unmeasured, Anything()).splitlines()
    start = page.index(expected[0])
    assert [row.rpartition(" | ")[0] for row in page[start : page.index("", start)]] == [row.rpartition(" | ")[0] for row in expected]
    for line in (trust.HERE / "template.md").read_text().splitlines():
        assert "@" in line or line in page, line


class Anything(dict):
    """Results in which whatever is named has passed."""

    def __missing__(self, run):
        names = [name for claim in CLAIMS for name in claim.shown_by]
        return trust.Run("c", "2026-01-01", {name if "::" in name else f"{name}::test": [trust.Case("passed")] for name in names})


def junit(tmp_path, *cases, when="2026-01-02T00:00:00+00:00", file="api.xml"):
    def one(module, name, inside=""):
        return f'<testcase classname="{module}" name="{name}">{inside}</testcase>'

    tmp_path.joinpath(file).write_text(f'<testsuites><testsuite name="abc" timestamp="{when}">{"".join(one(*case) for case in cases)}</testsuite></testsuites>')
    return trust.read_run("api", tmp_path)


def claim(*names, figure="{passed} cases"):
    return trust.Claim("Faults", "it holds", "api", names, figure)


def recorded(**values):
    return "<properties>" + "".join(f'<property name="{key}" value="{value}"/>' for key, value in values.items()) + "</properties>"


def test_what_was_recorded_is_shown(tmp_path):
    run = junit(
        tmp_path,
        ("tests.api.test_x", "test_a[1-x.y]", recorded(points=3, kind="Job")),
        ("tests.api.test_x", "test_a[2]", recorded(points=4)),
        ("tests.api.test_x.TestMore", "test_b"),
    )
    assert (run.commit, run.when[:10]) == ("abc", "2026-01-02")
    assert trust.figure(claim(TEST), run) == "3 cases"
    assert trust.figure(claim(f"{TEST}::test_b"), run) == "1 cases"
    assert trust.figure(claim(f"{TEST}::test_a", figure="{points} ({points_min}) {kind}"), run) == "7 (3) Job"
    with pytest.raises(trust.Untrue, match="nothing"):
        trust.figure(claim(TEST, figure="{nothing}"), run)


@pytest.mark.parametrize(
    ("cases", "names", "word"),
    [
        ([("tests.api.test_x", "test_a", "<failure/>")], [TEST], "failed"),
        ([("tests.api.test_x", "test_a"), ("tests.api.test_x", "test_b", "<error/>")], [TEST], "failed"),
        ([("tests.api.test_x", "test_a", "<skipped/>")], [TEST], "skipped"),
        ([("tests.api.test_x", "test_a[1]"), ("tests.api.test_x", "test_a[2]", "<skipped/>")], [f"{TEST}::test_a"], "skipped"),
        ([("tests.api.test_x", "test_a")], [f"{TEST}::test_b"], "did not run"),
        ([("tests.api.test_x", "test_a")], [TEST, "tests/api/test_y.py"], "did not run"),
        ([("tests.api.test_xy", "test_a")], [TEST], "did not run"),
    ],
)
def test_a_claim_that_its_results_do_not_show_is_an_error(tmp_path, cases, names, word):
    with pytest.raises(trust.Untrue, match=word):
        trust.figure(claim(*names), junit(tmp_path, *cases))


def test_the_newest_results_count(tmp_path):
    with pytest.raises(trust.Untrue, match="make api"):
        trust.read_run("api", tmp_path)
    junit(tmp_path, ("tests.api.test_x", "test_a"), when="2026-01-02T00:00:00+00:00", file="api.xml")
    newer = junit(tmp_path, ("tests.api.test_x", "test_b"), when="2026-01-03T00:00:00+00:00", file="test.xml")
    assert list(newer.cases) == [f"{TEST}::test_b"]
    other = junit(tmp_path, ("tests.unit.test_x", "test_c"), when="2026-01-04T00:00:00+00:00", file="test.xml")
    assert list(other.cases) == [f"{TEST}::test_a"], "a run without tests of this kind says nothing of them"


def test_a_bench_is_its_last_line(tmp_path):
    (tmp_path / "bench-operator-1000.txt").write_text('abc\na table\n{"p50_s": 0.5}\n')
    run = trust.read_run("bench-operator-1000", tmp_path)
    assert (run.commit, trust.figure(claim("bench/operator.py", figure="{p50_s:.2f} s"), run)) == ("abc", "0.50 s")
