"""What the operator makes: Pods that `restricted` admits, one writable place, the exit codes of the contract, vLLM's arguments."""

import json

import pytest

from support.pod_security import containers, violations
from tunewright.api.common import Kind, Storage
from tunewright.api.evaluation import EvaluationSpec
from tunewright.api.fine_tune_job import FineTuneJobSpec
from tunewright.api.inference_service import InferenceServiceSpec
from tunewright.api.model_merge import ModelMergeSpec
from tunewright.build.jobs import claim, evaluate_job, job, job_limits, merge_job, prepare_job, train_job
from tunewright.build.names import APPLIED_HASH, OWNER_UID_LABEL, claim_name
from tunewright.build.pods import USER
from tunewright.build.resolved import ResolvedModel, ResolvedSource
from tunewright.build.serving import deployment, deployment_name, server_args, service
from tunewright.build.settings import Settings
from tunewright.build.volumes import mounted_path, volumes
from tunewright.contract.exit_codes import NEVER_RETRIED
from tunewright.contract.run_spec import RUN_SPEC_ENV, Owner, parse_run_spec
from tunewright.contract.secrets import SECRET_PREFIX

LONGEST = "n" * 52
SETTINGS = Settings(trainer_image="trainer:1", server_image="server:1", image_pull_secrets=("pull",), hub_endpoint="http://mirror")
MODEL = ResolvedSource("hf://org/model@main", secret_name="hub")
ADAPTER = ResolvedSource("pvc://bot-ftj/adapter", "sha256:" + "a" * 64, lora_rank=16)
ROWS = ResolvedSource("configmap://rows/train.jsonl")
OUTPUT = "pvc://mine-out"
GPU = {"gpus": 2, "tolerations": [{"key": "pool", "value": "a100", "effect": "NoSchedule"}], "nodeSelector": [{"key": "zone", "value": "a"}]}


def owner(kind=Kind.FINE_TUNE_JOB, name=LONGEST):
    return Owner(kind=kind, namespace="team", name=name, uid="u-1")


def ftj(**spec):
    return FineTuneJobSpec.model_validate({"model": {"uri": MODEL.uri}, "dataset": {"uri": ROWS.uri}, **spec})


def tfeval(**spec):
    return EvaluationSpec.model_validate({"model": {"uri": MODEL.uri}, "dataset": {"uri": ROWS.uri}, **spec})


def tfisvc(**spec):
    return InferenceServiceSpec.model_validate({"model": {"uri": MODEL.uri}, **spec})


def merge(**spec):
    return ModelMergeSpec.model_validate({"adapter": {"uri": ADAPTER.uri}, "base": {"uri": MODEL.uri}, **spec})


def workloads(gpus=0):
    resources = {**GPU, "gpus": gpus}
    both = ResolvedModel(MODEL, ADAPTER)
    return {
        "prepare": prepare_job(owner(), ftj(resources=resources), MODEL, ROWS, OUTPUT, SETTINGS),
        "train": train_job(owner(), ftj(resources=resources), MODEL, "sha256:1", OUTPUT, SETTINGS),
        "merge": merge_job(owner(Kind.MODEL_MERGE), merge(), both, OUTPUT, SETTINGS),
        "evaluate": evaluate_job(owner(Kind.EVALUATION), tfeval(resources=resources), both, ResolvedModel(MODEL), ROWS, OUTPUT, SETTINGS),
        "server": deployment(owner(Kind.INFERENCE_SERVICE), tfisvc(resources=resources), MODEL, {"a": ADAPTER}, SETTINGS),
    }


def pod(workload):
    return workload["spec"]["template"]["spec"]


STAGES = ("prepare", "train", "merge", "evaluate", "server")
every_stage = pytest.mark.parametrize("stage", STAGES)
every_job = pytest.mark.parametrize("stage", STAGES[:4])


@pytest.mark.parametrize("gpus", [0, 2])
@every_stage
def test_pods_satisfy_restricted(stage, gpus):
    assert violations(pod(workloads(gpus)[stage])) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"hostNetwork": True}, "hostNetwork"), ({"securityContext": {}}, "runAsNonRoot"), ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"containers": [{"name": "c"}]}, "allowPrivilegeEscalation"), ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "privileged"),
    ],
)  # fmt: skip
def test_the_check_itself_finds_what_is_refused(change, path):
    broken = {**pod(workloads()["merge"]), **change}
    if "securityContext" in change:
        broken["containers"] = [{**each, "securityContext": {}} for each in broken["containers"]]
    assert path in " ".join(violations(broken))


@every_stage
def test_pods_have_no_token_and_a_read_only_root(stage):
    spec = pod(workloads()[stage])
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["fsGroup"] == USER
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for _, container in containers(spec))


@every_stage
def test_names_and_labels_fit_63_characters(stage):
    workload = workloads()[stage]
    # The Job's name becomes a label of its Pods; the random part of a Pod's name is made to fit by the API server.
    assert len(workload["metadata"]["name"]) <= 63
    assert all(len(value) <= 63 for value in workload["metadata"]["labels"].values())
    assert all(len(container["name"]) <= 63 for _, container in containers(pod(workload)))


def test_claims_and_services_fit_63_characters():
    assert all(len(claim_name(kind, LONGEST)) <= 63 for kind in (Kind.FINE_TUNE_JOB, Kind.MODEL_MERGE, Kind.EVALUATION))
    assert len(service(owner(Kind.INFERENCE_SERVICE))["metadata"]["name"]) <= 63
    assert len(deployment_name(LONGEST)) <= 63


@every_stage
def test_objects_are_owned_and_have_no_finalizer(stage):
    meta = workloads()[stage]["metadata"]
    (reference,) = meta["ownerReferences"]
    assert (reference["uid"], reference["controller"], reference["blockOwnerDeletion"]) == ("u-1", True, False)
    assert "finalizers" not in meta
    assert meta["labels"][OWNER_UID_LABEL] == workloads()[stage]["spec"]["template"]["metadata"]["labels"][OWNER_UID_LABEL] == "u-1"


@every_stage
def test_volumes_and_mounts_match_one_to_one(stage):
    spec = pod(workloads(2)[stage])
    names = [volume["name"] for volume in spec["volumes"]]
    assert len(names) == len(set(names))
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    assert len(claims) == len(set(claims))
    mounted = set()
    for _, container in containers(spec):
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))
        mounted |= {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == set(names)


@every_stage
def test_only_the_own_output_can_be_written(stage):
    spec = pod(workloads()[stage])
    claims = {volume["name"]: volume.get("persistentVolumeClaim", {}).get("claimName") for volume in spec["volumes"]}
    scratch = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    for _, container in containers(spec):
        writable = {claims[mount["name"]] for mount in container["volumeMounts"] if not mount.get("readOnly") and mount["name"] not in scratch}
        assert writable == ({"mine-out"} if stage != "server" else set())


@every_stage
def test_secrets_are_only_named(stage):
    """The operator has no verb on secrets; the kubelet reads them, for the container that downloads."""
    spec = pod(workloads()[stage])
    assert not any("secret" in volume for volume in spec["volumes"])
    named = {each["secretRef"]["name"] for _, container in containers(spec) for each in container.get("envFrom", [])}
    assert named == {"hub"}
    assert all(each["prefix"] == SECRET_PREFIX for _, container in containers(spec) for each in container.get("envFrom", [])), "no LD_PRELOAD from a Secret"
    assert not any("valueFrom" in variable for _, container in containers(spec) for variable in container["env"])
    if stage == "server":
        assert "envFrom" not in spec["containers"][0], "the server downloads nothing"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


@every_job
def test_the_run_spec_is_in_the_pod_and_parses(stage):
    container = pod(workloads()[stage])["containers"][0]
    env = {each["name"]: each["value"] for each in container["env"]}
    spec = parse_run_spec(env[RUN_SPEC_ENV])
    assert spec.verb == stage
    assert env["HF_ENDPOINT"] == "http://mirror"
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(spec.output_dir.startswith(path + "/") for path in paths)


@pytest.mark.parametrize(("stage", "has_gpu"), [("prepare", False), ("train", True), ("evaluate", True), ("merge", False), ("server", True)])
def test_gpus_are_asked_for_where_they_are_used(stage, has_gpu):
    spec = pod(workloads(2)[stage])
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == ("2" if has_gpu else None)
    tolerated = {each["key"] for each in spec.get("tolerations", [])}
    assert ("nvidia.com/gpu" in tolerated) == has_gpu
    if stage != "merge":
        assert "pool" in tolerated
        assert spec["nodeSelector"] == {"zone": "a"}
    if stage == "server":
        assert "nvidia.com/gpu" not in spec["initContainers"][0]["resources"]["limits"], "fetching needs no GPU"


def test_without_gpus_none_is_asked_for_or_tolerated():
    for workload in workloads(0).values():
        assert "nvidia.com/gpu" not in json.dumps(workload)


@pytest.mark.parametrize(
    ("toleration", "made"),
    [
        ({"key": "a"}, {"key": "a", "operator": "Exists"}),
        ({"key": "a", "value": ""}, {"key": "a", "operator": "Equal", "value": ""}),
        ({"key": "a", "value": "b", "effect": "NoExecute"}, {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}),
    ],
)
def test_tolerations(toleration, made):
    assert pod(train_job(owner(), ftj(resources={"gpus": 0, "tolerations": [toleration]}), MODEL, "sha256:1", OUTPUT, SETTINGS))["tolerations"] == [made]


@every_job
def test_the_pod_failure_policy_is_the_contract(stage):
    made = workloads()[stage]["spec"]
    fail, resume, disrupted = made["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", sorted(NEVER_RETRIED)) == ("FailJob", [65, 77, 78])
    assert (resume["action"], resume["onExitCodes"]["values"]) == ("Ignore", [75])
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert fail["onExitCodes"]["containerName"] == resume["onExitCodes"]["containerName"] == pod(workloads()[stage])["containers"][0]["name"]
    assert pod(workloads()[stage])["restartPolicy"] == "Never", "a podFailurePolicy needs it"
    assert made["podReplacementPolicy"] == "Failed"
    assert made["backoffLimit"] == 3


def test_only_the_training_has_a_deadline_and_suspends():
    spec = ftj(activeDeadlineSeconds=60, suspend=True, maxRetries=0)
    prepare = prepare_job(owner(), spec, MODEL, ROWS, OUTPUT, SETTINGS)["spec"]
    train = train_job(owner(), spec, MODEL, "sha256:1", OUTPUT, SETTINGS)["spec"]
    assert (prepare.get("activeDeadlineSeconds"), train["activeDeadlineSeconds"]) == (None, 60)
    assert prepare["suspend"] is train["suspend"] is True
    assert train["backoffLimit"] == 0
    assert job(owner(), "merge", {}, job_limits(max_retries=1))["spec"]["suspend"] is False


def test_the_claim():
    made = claim(owner(), "x", Storage(size="5Gi", storage_class_name="fast"), SETTINGS)["spec"]
    assert made == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}, "storageClassName": "fast"}
    assert "storageClassName" not in claim(owner(), "x", Storage(), SETTINGS)["spec"]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("pvc://claim", "/volumes/claim"), ("pvc://claim/a/b/", "/volumes/claim/a/b"), ("configmap://rows/k.jsonl", "/configmaps/rows/k.jsonl"),
        ("hf://org/name", None), ("s3://bucket/x", None),
    ],
)  # fmt: skip
def test_where_a_location_is_mounted(uri, path):
    assert mounted_path(uri) == path


def test_a_claim_is_mounted_once_and_writable_if_any_of_it_is_the_output():
    made, mounts = volumes(["pvc://a/x", "pvc://a/y", "pvc://b", "configmap://c/1", "configmap://c/2", "hf://o/n"], "pvc://a/out")
    assert [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in made] == ["a", "b", None]
    assert [mount.get("readOnly", False) for mount in mounts] == [False, True, True]
    assert [item["key"] for item in made[2]["configMap"]["items"]] == ["1", "2"]


def args(spec, adapters=None, device="GPU", extra=()):
    settings = Settings(trainer_image="t", server_image="s", server_device=device, server_args=extra)
    return server_args("bot", spec, adapters or {}, settings)


def test_server_arguments_on_gpu():
    made = args(tfisvc(resources={"gpus": 4}))
    assert made[:7] == ["/models/model", "--served-model-name", "bot", "--port", "8000", "--max-model-len", "4096"]
    assert made[made.index("--gpu-memory-utilization") + 1] == "0.9"
    assert made[made.index("--tensor-parallel-size") + 1] == "4"


def test_every_digit_of_a_share_reaches_the_server():
    made = args(tfisvc(gpuMemoryUtilization=0.90000001))
    assert made[made.index("--gpu-memory-utilization") + 1] == "0.90000001"


def test_server_arguments_on_cpu_differ_by_the_gpu_only():
    made = args(tfisvc(maxModelLen=512), device="CPU", extra=("--dtype", "float32"))
    assert "--gpu-memory-utilization" not in made
    assert "--tensor-parallel-size" not in made
    assert made[-2:] == ["--dtype", "float32"]


@pytest.mark.parametrize(
    ("ranks", "offered"),
    [((1,), "8"), ((8,), "8"), ((9,), "16"), ((16, 33), "64"), ((65,), "128"), ((257,), "320"), ((321,), "512"), ((512,), "512"), ((None,), "64")],
)
def test_the_rank_is_rounded_up_to_what_vllm_offers(ranks, offered):
    adapters = {f"a{n}": ResolvedSource("pvc://c/a", lora_rank=rank) for n, rank in enumerate(ranks)}
    made = args(tfisvc(), adapters)
    assert made[made.index("--max-lora-rank") + 1] == offered
    assert made[made.index("--max-loras") + 1] == str(len(ranks))
    assert made[made.index("--lora-modules") + 1 :] == [f"{name}=/models/adapters/{name}" for name in sorted(adapters)]


def test_the_applied_hash_follows_the_content():
    def hash_of(**spec):
        made = deployment(owner(Kind.INFERENCE_SERVICE), tfisvc(**spec), MODEL, {}, SETTINGS)
        return made["metadata"]["annotations"][APPLIED_HASH]

    assert hash_of() == hash_of() != hash_of(replicas=2)


def test_a_rollout_keeps_the_old_pod_until_the_new_one_answers():
    made = workloads()["server"]["spec"]
    assert made["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert made["selector"]["matchLabels"].items() <= made["template"]["metadata"]["labels"].items()
    server = pod(workloads()["server"])["containers"][0]
    assert all(server[probe]["httpGet"]["path"] == "/health" for probe in ("startupProbe", "readinessProbe", "livenessProbe"))
    assert service(owner(Kind.INFERENCE_SERVICE))["spec"]["selector"] == made["selector"]["matchLabels"]
