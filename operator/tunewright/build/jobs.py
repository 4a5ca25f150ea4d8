"""The Jobs and claims of the kinds that end."""

from typing import Final

from tunewright.api.common import Storage
from tunewright.api.evaluation import EvaluationSpec
from tunewright.api.fine_tune_job import FineTuneJobSpec
from tunewright.api.model_merge import ModelMergeSpec
from tunewright.build import Manifest
from tunewright.build.names import job_name, labels, metadata
from tunewright.build.pods import trainer_pod
from tunewright.build.resolved import ResolvedModel, ResolvedSource
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri, mounted_path
from tunewright.contract.exit_codes import NEVER_RETRIED, ExitCode
from tunewright.contract.run_spec import EvaluateSpec, Hyperparameters, LoraParameters, MergeSpec, Owner, PrepareSpec, TrainSpec

DATA: Final = "data"
CHECKPOINTS: Final = "checkpoints"
ADAPTER: Final = "adapter"
MODEL: Final = "model"
ANSWERS: Final = "answers"

_CPU_GRACE: Final = 30
_TRAIN_GRACE: Final = 300


def claim(owner: Owner, name: str, storage: Storage, settings: Settings) -> Manifest:
    """Return the PersistentVolumeClaim for the results of `owner`."""
    spec: Manifest = {"accessModes": [settings.access_mode], "resources": {"requests": {"storage": storage.size}}}
    if storage.storage_class_name:
        spec["storageClassName"] = storage.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata(owner, name), "spec": spec}


def job_limits(*, max_retries: int, suspend: bool = False, deadline_seconds: int | None = None) -> Manifest:
    """Return the fields of a Job's spec that may change while it runs."""
    return {
        "suspend": suspend,
        "parallelism": 1,
        "backoffLimit": max_retries,
        **({} if deadline_seconds is None else {"activeDeadlineSeconds": deadline_seconds}),
    }


def prepare_limits(spec: FineTuneJobSpec) -> Manifest:
    """Return the limits of the CPU stage: the deadline is the training's."""
    return job_limits(max_retries=spec.max_retries, suspend=spec.suspend)


def train_limits(spec: FineTuneJobSpec) -> Manifest:
    """Return the limits of the training."""
    return job_limits(max_retries=spec.max_retries, suspend=spec.suspend, deadline_seconds=spec.active_deadline_seconds)


def job(owner: Owner, stage: str, pod: Manifest, limits: Manifest) -> Manifest:
    """Return the Job of one stage; what its Pod's exit code means stands in the podFailurePolicy."""
    spec: Manifest = {
        **limits,
        "completions": 1,
        # A second Pod starts only when the first is gone: two would write the same volume.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"containerName": stage, "operator": "In", "values": sorted(int(code) for code in NEVER_RETRIED)}},
                {"action": "Ignore", "onExitCodes": {"containerName": stage, "operator": "In", "values": [int(ExitCode.RESUMABLE)]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"metadata": {"labels": labels(owner, stage)}, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(owner, job_name(owner.name, stage), stage), "spec": spec}


def prepare_job(owner: Owner, spec: FineTuneJobSpec, model: ResolvedSource, dataset: ResolvedSource, output: str, settings: Settings) -> Manifest:
    """Return the CPU Job that checks and prepares the data of a FineTuneJob below `output`."""
    run_spec = PrepareSpec(
        owner=owner,
        dataset=dataset.source(),
        model=model.source(),
        output_dir=_path(join_uri(output, DATA)),
        eval_fraction=spec.data_checks.eval_fraction,
        seed=spec.data_checks.seed,
        max_length=spec.training.max_length,
        max_invalid_fraction=spec.data_checks.max_invalid_fraction,
    )
    pod = trainer_pod(
        settings, "prepare", run_spec, (model, dataset),
        writable=output, resources=spec.resources.model_copy(update={"cpu": None, "memory": None}), gpus=0, defaults=settings.cpu_stage, grace_seconds=_CPU_GRACE,
    )  # fmt: skip
    return job(owner, "prepare", pod, prepare_limits(spec))


def train_job(owner: Owner, spec: FineTuneJobSpec, model: ResolvedSource, data_digest: str, output: str, settings: Settings) -> Manifest:
    """Return the Job that trains on the prepared data with digest `data_digest` and publishes the adapter below `output`."""
    run_spec = TrainSpec(
        owner=owner,
        model=model.source(),
        data_dir=_path(join_uri(output, DATA)),
        data_digest=data_digest,
        checkpoint_dir=_path(join_uri(output, CHECKPOINTS)),
        output_dir=_path(join_uri(output, ADAPTER)),
        lora=LoraParameters(**spec.lora.model_dump()),
        hyperparameters=Hyperparameters(**spec.training.model_dump()),
    )
    pod = trainer_pod(
        settings, "train", run_spec, (model,),
        writable=output, resources=spec.resources, gpus=spec.resources.gpus, defaults=settings.train_stage, grace_seconds=_TRAIN_GRACE,
    )  # fmt: skip
    return job(owner, "train", pod, train_limits(spec))


def merge_job(owner: Owner, spec: ModelMergeSpec, model: ResolvedModel, output: str, settings: Settings) -> Manifest:
    """Return the CPU Job that folds the adapter into its base and publishes the model below `output`."""
    run_spec = MergeSpec(owner=owner, model=model.model_source(), output_dir=_path(join_uri(output, MODEL)))
    pod = trainer_pod(
        settings, "merge", run_spec, model.sources,
        writable=output, resources=spec.resources, gpus=0, defaults=settings.cpu_stage, grace_seconds=_CPU_GRACE,
    )  # fmt: skip
    return job(owner, "merge", pod, job_limits(max_retries=spec.max_retries))


def evaluate_job(
    owner: Owner, spec: EvaluationSpec, model: ResolvedModel, baseline: ResolvedModel | None, dataset: ResolvedSource, output: str, settings: Settings
) -> Manifest:
    """Return the Job that scores `model` and `baseline` on `dataset` and publishes every answer below `output`."""
    run_spec = EvaluateSpec(
        owner=owner,
        model=model.model_source(),
        baseline=baseline.model_source() if baseline else None,
        dataset=dataset.source(),
        response_format=spec.response_format,
        max_new_tokens=spec.generation.max_new_tokens,
        batch_size=spec.generation.batch_size,
        limit=spec.limit,
        precision=spec.generation.precision,
        output_dir=_path(join_uri(output, ANSWERS)),
    )
    sources = (*model.sources, *(baseline.sources if baseline else ()), dataset)
    pod = trainer_pod(
        settings, "evaluate", run_spec, sources,
        writable=output, resources=spec.resources, gpus=spec.resources.gpus, defaults=settings.cpu_stage, grace_seconds=_CPU_GRACE,
    )  # fmt: skip
    return job(owner, "evaluate", pod, job_limits(max_retries=spec.max_retries))


def _path(uri: str) -> str:
    """Return the path of an output location; outputs are claims, so there always is one."""
    path = mounted_path(uri)
    assert path is not None, uri
    return path
