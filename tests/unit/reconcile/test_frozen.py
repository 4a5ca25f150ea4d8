"""What was resolved at the start does not matter any more once the Job that reads it is made: its maker may be deleted meanwhile."""

from dataclasses import replace

import pytest

from support.worlds import Story, digest, done, ended, resource, world
from tunewright.api.common import Kind
from tunewright.contract.secrets import SECRET_PREFIX
from tunewright.reconcile.told import run_spec

MERGE_REF = {"ref": {"kind": "ModelMerge", "name": "base"}}
JOB_REF = {"ref": {"kind": "FineTuneJob", "name": "source"}}


@pytest.mark.parametrize(
    ("kind", "spec", "others"),
    [
        ("ModelMerge", {"adapter": JOB_REF}, (ended("FineTuneJob", "source"),)),
        ("Evaluation", {"model": MERGE_REF}, (ended("ModelMerge", "base"),)),
        ("Evaluation", {"dataset": JOB_REF}, (ended("FineTuneJob", "source"),)),
        ("FineTuneJob", {"dataset": JOB_REF}, (ended("FineTuneJob", "source"),)),
    ],
)
def test_a_running_job_goes_on_when_an_input_is_deleted(kind, spec, others):
    told = Story(resource(kind, **spec), world(resources=others))
    told.settle()
    assert told.status["state"] == "Pending"
    told.seen = replace(told.seen, resources={})
    told.settle()
    assert told.status["state"] == "Pending"


def test_what_was_resolved_is_told_by_the_job_and_not_by_what_is_there_now():
    """The model is made again under its name while it is scored: the verdict is of the one that was scored."""
    told = Story(resource("Evaluation", model=MERGE_REF), world(resources=(ended("ModelMerge", "base"),)))
    told.settle()
    newer = ended("ModelMerge", "base", artifact={"uri": "pvc://base-merge/model", "digest": digest("e"), "sizeBytes": 1})
    told.seen = replace(told.seen, resources={(Kind.MODEL_MERGE, "base"): newer})
    told.settle()
    assert told.status["modelDigest"] == digest("b")


def test_the_training_reads_the_commit_that_the_data_was_prepared_for():
    told = Story(resource("FineTuneJob", model={"uri": "hf://org/model@main", "secretName": "hub-token"}), world())
    told.settle()
    assert told.status["base"] == {"uri": "hf://org/model@main"}
    completed, ran = done("bot-prepare", "prepare", model_uri="hf://org/model@" + "1" * 40)
    job = {**told.seen.child("Job", "bot-prepare"), "status": completed["status"]}
    ran["metadata"]["ownerReferences"] = [{"uid": job["metadata"]["uid"]}]
    told.seen = replace(told.seen, children=(job, ran))
    told.settle()
    assert told.status["base"] == {"uri": "hf://org/model@" + "1" * 40}
    training = told.seen.child("Job", "bot-train")
    assert run_spec(training)["model"] == {"uri": "hf://org/model@" + "1" * 40}
    (container,) = training["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"prefix": SECRET_PREFIX, "secretRef": {"name": "hub-token"}}], "what is pinned is read with the same credentials"


def test_a_merge_folds_into_the_commit_that_was_trained_on():
    source = ended("FineTuneJob", "source", base={"uri": "hf://org/model@" + "1" * 40})
    told = Story(resource("ModelMerge"), world(resources=(source,)))
    told.settle()
    assert told.status["base"] == {"uri": "hf://org/model@" + "1" * 40}


def test_training_goes_on_when_the_config_map_of_the_data_is_deleted():
    told = Story(resource("FineTuneJob", status={"dataDigest": "sha256:" + "d" * 64}), world())
    told.settle()
    assert told.status["state"] == "Pending"
    told.seen = replace(told.seen, configmaps={})
    told.settle()
    assert told.status["state"] == "Pending"


def test_a_wait_does_not_forget_the_prepared_data():
    told = Story(resource("FineTuneJob", status={"dataDigest": "sha256:" + "d" * 64}), world(configmaps={}))
    told.settle()
    assert "dataDigest" in told.status
