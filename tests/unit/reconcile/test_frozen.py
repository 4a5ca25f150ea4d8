"""What was resolved at the start does not matter any more once the Job that reads it is made: its maker may be deleted meanwhile."""

from dataclasses import replace

import pytest

from support.worlds import Story, ended, resource, world

MERGE_REF = {"ref": {"kind": "ModelMerge", "name": "base"}}
JOB_REF = {"ref": {"kind": "FineTuneJob", "name": "source"}}


@pytest.mark.xfail(strict=True, reason="only a FineTuneJob's base model is frozen; these wait again for what they already use")
@pytest.mark.parametrize(
    ("kind", "spec", "others", "state"),
    [
        ("ModelMerge", {"adapter": JOB_REF}, (ended("FineTuneJob", "source"),), "Merging"),
        ("Evaluation", {"model": MERGE_REF}, (ended("ModelMerge", "base"),), "Evaluating"),
        ("Evaluation", {"dataset": JOB_REF}, (ended("FineTuneJob", "source"),), "Evaluating"),
        ("FineTuneJob", {"dataset": JOB_REF}, (ended("FineTuneJob", "source"),), "Preparing"),
    ],
)
def test_a_running_job_goes_on_when_an_input_is_deleted(kind, spec, others, state):
    told = Story(resource(kind, **spec), world(resources=others))
    told.settle()
    assert told.status["state"] == state
    told.seen = replace(told.seen, resources={})
    told.settle()
    assert told.status["state"] == state


def test_training_goes_on_when_the_config_map_of_the_data_is_deleted():
    told = Story(resource("FineTuneJob", status={"dataDigest": "sha256:" + "d" * 64}), world())
    told.settle()
    assert told.status["state"] == "Training"
    told.seen = replace(told.seen, configmaps={})
    told.settle()
    assert told.status["state"] == "Training"


def test_a_wait_does_not_forget_the_prepared_data():
    told = Story(resource("FineTuneJob", status={"dataDigest": "sha256:" + "d" * 64}), world(configmaps={}))
    told.settle()
    assert "dataDigest" in told.status
