"""The audit passes only what was looked up, and the bill of materials is the lock."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "hack/supply" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


audit = load("audit_report")


def report(**packages):
    """Return a report as pip-audit writes it: a list of vulnerabilities for a package that was looked up, a reason for one that was not."""
    return {
        "dependencies": [
            {"name": name, "version": "1.0", "vulns": value} if isinstance(value, list) else {"name": name, "skip_reason": value}
            for name, value in packages.items()
        ],
        "fixes": [],
    }


BAD = [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"], "aliases": ["CVE-2026-1"], "description": "x"}]
SKIPPED = "Dependency not found on PyPI and could not be audited: a (1.0)"


@pytest.mark.parametrize(
    ("reports", "code", "words"),
    [
        ([report(a=[], b=[])], 0, "no known vulnerability in 2 packages"), ([report(a=[], b=BAD)], 1, "b 1.0: PYSEC-1, fixed in 1.1, 2.0"),
        ([report(a=SKIPPED, b=SKIPPED)], 2, "could not check 2 of 2 packages (a, b)"), ([report(a=SKIPPED, b=[])], 2, "could not check 1 of 2 packages (a)"),
        ([report(a=[])], 2, "could not check 1 of 2"), ([], 2, "could not check 2 of 2"), ([report(a=SKIPPED, b=[]), report(a=[], b=[])], 0, "no known"),
        ([report(a=SKIPPED, b=SKIPPED), report(b=BAD)], 1, "b 1.0: PYSEC-1"), ([{}], 2, "could not check"),
    ],
)  # fmt: skip
def test_what_was_not_looked_up_does_not_pass(reports, code, words):
    found, lines = audit.judge(["a", "b"], reports)
    assert (found, len(lines)) == (code, 1)
    assert words in lines[0]


def test_nothing_to_check_is_not_a_pass():
    assert audit.judge([], [report()])[0] == 2


def test_the_worst_of_the_files_is_the_verdict(tmp_path):
    for name, packages in {"one": report(a=[]), "two": report(a=SKIPPED)}.items():
        (tmp_path / f"{name}.txt").write_text("a==1.0 \\\n    --hash=sha256:0\n")
        (tmp_path / f"{name}.txt.pypi.json").write_text(json.dumps(packages))
    (tmp_path / "two.txt.osv.json").write_text("")
    assert audit.main(tmp_path) == 2
    (tmp_path / "one.txt.osv.json").write_text(json.dumps(report(a=BAD)))
    assert audit.main(tmp_path) == 1
    assert audit.main(tmp_path / "empty") == 2


@pytest.mark.parametrize(("answer", "services"), [(22, []), (0, ["pypi", "osv"])])
def test_what_is_not_reached_is_asked_once(tmp_path, answer, services):
    """With curl and uv of our own: no database reached, and two that know nothing. Neither passes."""
    version = re.search(r"^UV_VERSION=(.*)$", (ROOT / "hack/versions.env").read_text(), re.MULTILINE)[1]
    stubs = {"curl": f"exit {answer}", f"uv/{version}/bin/uv": 'if [ "$1" = export ]; then echo "a==1"; else echo "$@" >>"$CALLS"; fi'}
    for name, does in stubs.items():
        stub = tmp_path / name
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(f"#!/bin/sh\n{does}\n")
        stub.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TUNEWRIGHT_CACHE": str(tmp_path), "CALLS": str(calls)}
    done = subprocess.run([ROOT / "hack/supply/audit"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2, done.stderr
    assert "operator: could not check 1 of 1 packages (a)" in done.stdout
    asked = calls.read_text() if calls.exists() else ""
    assert re.findall(r"--vulnerability-service (\w+)", asked) == services * 3


def test_names_of_requirements():
    text = "# c\na-b==1.0 ; python_full_version < '3.9' \\\n    --hash=sha256:1\nC.d[x]==2 ; sys_platform == 'linux'\nE_f==3 \\\n    --hash=sha256:2\n-e .\n"
    assert audit.required_names(text) == ["c-d", "e-f"]


def locked():
    """Return the version of each package of uv.lock; a package may have several."""
    found = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        found.setdefault(package["name"], set()).add(package.get("version"))
    return found


def test_the_bill_of_materials_is_the_lock(tmp_path):
    done = subprocess.run([ROOT / "hack/supply/sbom", tmp_path], capture_output=True, text=True, check=True)
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert [path.name for path in paths] == ["operator.cdx.json", "trainer.cdx.json"]
    for path, least in zip(paths, ({"kopf", "kubernetes", "pydantic"}, {"torch", "transformers", "safetensors", "jinja2"}), strict=True):
        bill = json.loads(path.read_text())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        components = {each["name"]: each for each in bill["components"]}
        assert least <= components.keys()
        assert "pytest" not in components, "what tests need is not shipped"
        for name, component in components.items():
            assert component["version"] in locked()[name]
            assert component["purl"] == f"pkg:pypi/{name}@{component['version']}"
            hashes = [each["content"] for reference in component["externalReferences"] for each in reference.get("hashes", [])]
            assert hashes, name
            assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in hashes), name


def test_every_locked_package_has_a_hash():
    """The images are built with --require-hashes; a package from a folder or a repository would have none."""
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        if package["name"] == "tunewright":
            continue
        assert "registry" in package["source"], package["name"]
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        assert all(each["hash"].startswith("sha256:") for each in files), package["name"]
    for dockerfile in ("operator/Dockerfile", "trainer-image/Dockerfile"):
        text = (ROOT / dockerfile).read_text()
        installs = [line for line in text.splitlines() if re.search(r"pip install (?!.*uv==)", line)]
        assert installs, dockerfile
        assert all("--require-hashes" in line for line in installs), dockerfile
