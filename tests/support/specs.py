"""Specs of each kind with every field set, what may stand in place of another field, and the fields that change no object."""

HUB = {"uri": "hf://org/model@main", "secretName": "hub-token"}
ROWS = {"uri": "configmap://rows/train.jsonl", "secretName": "data-token"}
PLACED = {
    "cpu": "4", "memory": "16Gi", "nodeSelector": [{"key": "gpu", "value": "a100"}],
    "tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}],
}  # fmt: skip
STORAGE = {"size": "20Gi", "storageClassName": "slow"}
TRAINING = {
    "epochs": 2, "maxSteps": 100, "learningRate": 1e-3, "batchSize": 2, "gradientAccumulationSteps": 2, "scheduler": "Cosine", "warmupRatio": 0.2,
    "weightDecay": 0.1, "maxLength": 512, "packing": True, "precision": "BF16", "checkpointSteps": 20, "seed": 1,
}  # fmt: skip

FULL = {
    "FineTuneJob": {
        "model": HUB, "dataset": ROWS, "dataChecks": {"evalFraction": 0.1, "seed": 7, "maxInvalidFraction": 0.1},
        "lora": {"rank": 8, "alpha": 16, "dropout": 0.1, "targetModules": ["q_proj", "v_proj"]}, "training": TRAINING,
        "resources": {**PLACED, "gpus": 0}, "storage": STORAGE, "suspend": False, "activeDeadlineSeconds": 3600, "maxRetries": 2,
        "ttlSecondsAfterFinished": 10**6,
    },
    "ModelMerge": {
        "adapter": HUB, "base": {"uri": "hf://org/base", "secretName": "base-token"}, "resources": PLACED, "storage": STORAGE, "maxRetries": 2,
        "ttlSecondsAfterFinished": 10**6,
    },
    "Evaluation": {
        "model": HUB, "baseline": {"uri": "hf://org/base", "secretName": "base-token"}, "dataset": ROWS, "responseFormat": "JSON",
        "generation": {"maxNewTokens": 64, "batchSize": 4, "precision": "BF16"}, "limit": 50,
        "thresholds": [{"metric": "ExactMatch", "minimum": 0.8, "minimumGain": 0.4}], "resources": {**PLACED, "gpus": 0}, "storage": STORAGE,
        "maxRetries": 2, "ttlSecondsAfterFinished": 10**6,
    },
    "InferenceService": {
        "model": HUB, "adapters": [{"name": "tuned", "uri": "hf://org/adapter", "secretName": "adapter-token"}], "replicas": 2, "maxModelLen": 2048,
        "gpuMemoryUtilization": 0.8, "resources": {**PLACED, "gpus": 1},
    },
}  # fmt: skip
"""A spec of each kind with every field set that can stand beside the others."""

MERGED, TUNED = {"ref": {"kind": "ModelMerge", "name": "base"}}, {"ref": {"kind": "FineTuneJob", "name": "source"}}
VARIANTS = {
    "FineTuneJob": {"model": MERGED, "dataset": TUNED, "output": {"uri": "pvc://shared/x"}},
    "ModelMerge": {"adapter": TUNED, "base": MERGED, "output": {"uri": "pvc://shared/x"}},
    "Evaluation": {"model": TUNED, "baseline": MERGED, "dataset": TUNED, "output": {"uri": "pvc://shared/x"}},
    "InferenceService": {"model": MERGED, "adapters": [{"name": "tuned", **TUNED}], "evaluationRef": {"name": "check"}},
}
"""What stands in place of another field; each is a change of its own."""

NO_OBJECT = {
    ("FineTuneJob", "ttlSecondsAfterFinished"): "read after the end: the resource itself is deleted (test_the_time_to_live)",
    ("ModelMerge", "ttlSecondsAfterFinished"): "read after the end: the resource itself is deleted (test_the_time_to_live)",
    ("Evaluation", "ttlSecondsAfterFinished"): "read after the end: the resource itself is deleted (test_the_time_to_live)",
    ("Evaluation", "thresholds"): "judged by the operator from the scores: changes the verdict (test_every_threshold_field_changes_the_verdict)",
}
"""Fields that change no object, by kind and first step of their path, each with the reason."""
