"""Bad input that only the data or the model shows: a condition names it, on the CPU stage, and no training Job (the one with the GPU) is made."""

import json
from typing import Any

import pytest

from support.cluster import Cluster, trainer_pod

pytestmark = pytest.mark.e2e

MODEL = "hf://HuggingFaceTB/SmolLM2-135M-Instruct@main"
GOOD = "\n".join(json.dumps({"instruction": "Add.", "input": f"{n} + {n}", "output": str(2 * n)}) for n in range(40))
BROKEN = GOOD.splitlines()
BROKEN[6] = '{"instruction": "Add.", "input": "6 + 6", "output": '
DATA = {"good": GOOD, "broken": "\n".join(BROKEN), "empty": "\n", "duplicates": "\n".join([GOOD.splitlines()[0]] * 40)}

CASES = [
    ("broken-line", MODEL, "broken", "BadData", "line 7"),
    ("empty-set", MODEL, "empty", "EmptyDataset", "empty"),
    ("all-duplicates", MODEL, "duplicates", "EmptyDataset", "duplicate"),
    ("pickle", "pvc://models/pickle", "good", "UnsafeModel", "pytorch_model.bin"),
    ("python-file", "pvc://models/python", "good", "UnsafeModel", "modeling_evil.py"),
    ("no-template", "pvc://models/plain", "good", "NoChatTemplate", "chat template"),
]

MAKE_MODELS = """
import json, pathlib, shutil
from huggingface_hub import snapshot_download
source = snapshot_download("HuggingFaceTB/SmolLM2-135M-Instruct", local_dir="/tmp/model")
for name in ("pickle", "python", "plain"):
    shutil.copytree(source, f"/models/{name}", ignore=shutil.ignore_patterns(".cache"))
pathlib.Path("/models/pickle/pytorch_model.bin").write_bytes(b"\\x80\\x04.")
pathlib.Path("/models/python/modeling_evil.py").write_text("print('run')")
plain = pathlib.Path("/models/plain")
(plain / "chat_template.jinja").unlink(missing_ok=True)
settings = json.loads((plain / "tokenizer_config.json").read_text())
settings.pop("chat_template", None)
(plain / "tokenizer_config.json").write_text(json.dumps(settings))
"""


def make_models(cluster: Cluster) -> None:
    """Fill the claim `models` with the three bad models, from a restricted Pod of the trainer image."""
    cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}},
        trainer_pod(cluster, "make-models", MAKE_MODELS, {"models": "/models"}),
    )  # fmt: skip
    cluster.wait("the bad models", 120, lambda: cluster.status("pod", "make-models").get("phase") == "Succeeded")


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> Cluster:
    make_models(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": DATA})
    for name, model, key, _, _ in CASES:
        spec: dict[str, Any] = {"model": {"uri": model}, "dataset": {"uri": f"configmap://rows/{key}"}, "storage": {"size": "1Gi"}}
        cluster.apply({"apiVersion": "tunewright.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": name}, "spec": spec})
    return cluster


@pytest.mark.parametrize(("name", "reason", "words"), [(name, reason, words) for name, _, _, reason, words in CASES])
def test_bad_input_is_named_before_a_gpu_is_asked_for(jobs: Cluster, name: str, reason: str, words: str) -> None:
    ended = jobs.wait(f"{name} to fail", 240, lambda: (found := jobs.condition("ftj", name, "Succeeded")).get("status") == "False" and found)
    assert ended["reason"] == reason, ended
    assert words in ended["message"], ended
    assert jobs.get("job", f"{name}-train") is None
