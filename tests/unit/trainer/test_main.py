"""The container as a process: result, exit code, SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.weight_files import weights
from tunewright.contract.manifest import MANIFEST_NAME, FileEntry, Manifest
from tunewright.contract.run_result import RunResult
from tunewright.contract.run_spec import Owner

ROOT = Path(__file__).parents[3]


def start(tmp_path, spec):
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer-image'}", "TUNEWRIGHT_TERMINATION_LOG": str(tmp_path / "result"), "TUNEWRIGHT_PROGRESS_PORT": "0",
        "TUNEWRIGHT_SCRATCH": str(tmp_path / "scratch"),
    }  # fmt: skip
    environ.pop("TUNEWRIGHT_RUN_SPEC", None)
    if spec is not None:
        environ["TUNEWRIGHT_RUN_SPEC"] = spec if isinstance(spec, str) else json.dumps(spec)
    return subprocess.Popen([sys.executable, "-m", "tunewright_trainer"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(tmp_path, spec):
    process = start(tmp_path, spec)
    output, _ = process.communicate(timeout=30)
    return process.returncode, RunResult.model_validate_json((tmp_path / "result").read_text()), output


OWNER = {"kind": "InferenceService", "namespace": "team", "name": "bot", "uid": "u-1"}


def fetch(tmp_path, **model):
    return {"verb": "fetch", "owner": OWNER, "model": model, "outputDir": str(tmp_path / "out")}


def test_success(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(weights(1.0))
    code, result, output = run(tmp_path, fetch(tmp_path, uri="pvc://m/model", path=str(model)))
    assert (code, result.outcome, result.reason) == (0, "Succeeded", None), output
    assert (tmp_path / "out" / "model" / "config.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("spec", "code", "reason"),
    [
        (None, 78, "BadConfiguration"),
        ("{", 78, "BadConfiguration"),
        ({"verb": "fetch"}, 78, "BadConfiguration"),
        ({"verb": "fetch", "owner": OWNER, "model": {"uri": "pvc://m/model", "path": "/absent"}, "outputDir": "/nowhere"}, 78, "ModelNotFound"),
    ],
)
def test_failures(tmp_path, spec, code, reason):
    returned, result, output = run(tmp_path, spec)
    assert (returned, result.outcome, result.reason) == (code, "Failed", reason), output
    assert "Traceback" not in output


def test_sigterm(tmp_path):
    """Even while a pool hashes a big file, whose threads cannot be interrupted."""
    model = tmp_path / "model"
    model.mkdir()
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(40_000_000_000)  # sparse: no disk, many seconds to hash
    entry = FileEntry(path="model.safetensors", size=40_000_000_000, sha256="0")
    (model / MANIFEST_NAME).write_text(Manifest(kind="Model", files=(entry,), owner=Owner.model_validate(OWNER)).to_json())
    process = start(tmp_path, fetch(tmp_path, uri="pvc://m/model", path=str(model)))
    line = process.stdout.readline()
    assert "phase Fetching" in line
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    result = RunResult.model_validate_json((tmp_path / "result").read_text())
    assert (process.returncode, result.outcome, result.reason) == (75, "Stopped", "Stopped"), output
