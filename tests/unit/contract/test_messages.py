"""Messages between operator and trainer: RunSpec, RunResult, the manifest's digest, exit codes."""

import json
import re

import pytest
from pydantic import ValidationError

from tunewright.contract.exit_codes import NEVER_RETRIED, ExitCode
from tunewright.contract.manifest import FileEntry, Manifest
from tunewright.contract.run_result import MAX_RESULT_BYTES, ArtifactRef, EvaluationScores, RunResult, Score
from tunewright.contract.run_spec import (
    EvaluateSpec,
    FetchSpec,
    Hyperparameters,
    LoraParameters,
    MergeSpec,
    ModelSource,
    Owner,
    PrepareSpec,
    Source,
    TrainSpec,
    parse_run_spec,
)  # fmt: skip

OWNER = Owner(kind="FineTuneJob", namespace="team", name="bot", uid="u-1")
SOURCE = Source(uri="pvc://c/m", path="/volumes/c/m", digest="sha256:" + "0" * 64)
MODEL = ModelSource(base=Source(uri="hf://org/name"), adapter=SOURCE)
SPECS = [
    PrepareSpec(owner=OWNER, dataset=SOURCE, model=SOURCE, output_dir="/o", eval_fraction=0.05, seed=42, max_length=512, max_invalid_fraction=0),
    TrainSpec(
        owner=OWNER, model=SOURCE, data_dir="/d", data_digest="sha256:1", checkpoint_dir="/c", output_dir="/o",
        lora=LoraParameters(rank=16, alpha=32, dropout=0.05, target_modules=("q_proj",)),
        hyperparameters=Hyperparameters(
            epochs=3, learning_rate=2e-4, batch_size=4, gradient_accumulation_steps=1, scheduler="Cosine", warmup_ratio=0.1, weight_decay=0,
            max_length=1024, packing=True, precision="BF16", checkpoint_steps=50, seed=42,
        ),
    ),
    MergeSpec(owner=OWNER, model=MODEL, output_dir="/o"),
    EvaluateSpec(owner=OWNER, model=MODEL, dataset=SOURCE, response_format="JSON", max_new_tokens=64, batch_size=2, precision="FP32", output_dir="/o"),
    FetchSpec(owner=OWNER, model=SOURCE, adapters={"a": SOURCE}, output_dir="/models"),
]  # fmt: skip


def manifest(**changes):
    files = (FileEntry(path="a", size=1, sha256="00"), FileEntry(path="b", size=2, sha256="01"))
    return Manifest(**({"kind": "Adapter", "files": files, "owner": OWNER, "made_with": {"seed": "42", "rank": "16"}} | changes))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.verb)
def test_run_spec_round_trip(spec):
    assert parse_run_spec(spec.to_json()) == spec


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.verb)
def test_run_spec_is_camel_case_without_nulls(spec):
    text = spec.to_json()
    assert "null" not in text
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]*", key) for key in json.loads(text))


@pytest.mark.parametrize(("change", "named"), [({"surprise": 1}, "surprise"), ({"verb": "dance"}, "dance"), ({"outputDir": None}, "outputDir")])
def test_a_run_spec_of_another_version_names_the_field(change, named):
    with pytest.raises(ValidationError, match=named):
        parse_run_spec(json.dumps({**json.loads(SPECS[2].to_json()), **change}))


def test_the_digest_of_a_manifest_does_not_change_between_versions():
    """Consumers verify digests written by older releases; this literal may only change with `format_version`."""
    assert manifest().digest() == "sha256:6207435bee029e7273f95580145ee9e3038b4580b978cf65f71d7b5b50ba3225"


def test_the_digest_ignores_the_order_of_keys_and_survives_the_wire():
    assert manifest(made_with={"rank": "16", "seed": "42"}).digest() == manifest().digest()
    assert Manifest.model_validate_json(manifest().to_json()).digest() == manifest().digest()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Model"}, {"files": (FileEntry(path="a", size=1, sha256="00"),)}, {"files": (FileEntry(path="a", size=1, sha256="ff"),)},
        {"base_digest": "sha256:1"}, {"parents": ("sha256:1",)}, {"made_with": {}}, {"owner": OWNER.model_copy(update={"uid": "u-2"})},
    ],
)  # fmt: skip
def test_the_digest_covers_everything(change):
    assert manifest(**change).digest() != manifest().digest()


def test_run_result_of_an_ordinary_evaluation_fits_the_termination_message():
    """The kubelet cuts at 4096 bytes, and half a JSON is no result."""
    scores = tuple(Score(category=f"category-{n}", count=1000, exact_match=0.1234, format_compliance=0.5678, similarity=0.9012) for n in range(10))
    result = RunResult(
        verb="evaluate", outcome="Succeeded", message="x" * 200, artifact=ArtifactRef(path="/volumes/c/answers", digest="sha256:" + "f" * 64, size_bytes=10**9),
        scores=EvaluationScores(model=scores, baseline=scores),
    )  # fmt: skip
    assert len(result.to_json().encode()) < MAX_RESULT_BYTES
    assert RunResult.model_validate_json(result.to_json()) == result


def test_run_result_knows_its_reasons_only():
    with pytest.raises(ValidationError):
        RunResult(verb="train", outcome="Failed", reason="Whatever")


def test_exit_codes_are_those_of_the_design():
    assert (ExitCode.DONE, ExitCode.BAD_DATA, ExitCode.RESUMABLE, ExitCode.DENIED, ExitCode.BAD_CONFIG, ExitCode.KILLED) == (0, 65, 75, 77, 78, 137)
    assert set(NEVER_RETRIED) == {65, 77, 78}
