"""Names, labels and owner references of the objects the operator makes. Names follow from the resource's alone."""

import hashlib
import json
from typing import Any, Final

from tunewright.api import API_VERSION, GROUP
from tunewright.api.common import Kind
from tunewright.build import Manifest
from tunewright.contract.run_spec import Owner

MANAGER: Final = "tunewright"
OWNER_UID_LABEL: Final = f"{GROUP}/owner-uid"
KIND_LABEL: Final = f"{GROUP}/kind"
NAME_LABEL: Final = f"{GROUP}/name"
STAGE_LABEL: Final = f"{GROUP}/stage"
MANAGED_BY: Final = {"app.kubernetes.io/managed-by": MANAGER}
APPLIED_HASH: Final = f"{GROUP}/applied-hash"
MODEL_DIGEST: Final = f"{GROUP}/model-digest"
MODEL_URI: Final = f"{GROUP}/model-uri"

_CLAIM_SUFFIX: Final = {Kind.FINE_TUNE_JOB: "ftj", Kind.MODEL_MERGE: "merge", Kind.EVALUATION: "evaluate"}


def claim_name(kind: Kind, name: str) -> str:
    """Return the name of the volume claim the operator makes for a resource."""
    return f"{name}-{_CLAIM_SUFFIX[kind]}"


def job_name(name: str, stage: str) -> str:
    """Return the name of the Job of one stage of a resource."""
    return f"{name}-{stage}"


def labels(owner: Owner, stage: str | None = None) -> dict[str, str]:
    """Return the labels of an object of `owner`; `stage` tells its Pods apart."""
    result = {**MANAGED_BY, OWNER_UID_LABEL: owner.uid, KIND_LABEL: owner.kind, NAME_LABEL: owner.name}
    return {**result, STAGE_LABEL: stage} if stage else result


def metadata(owner: Owner, name: str, stage: str | None = None, annotations: dict[str, str] | None = None) -> Manifest:
    """Return the metadata of an object owned by `owner`: garbage collection removes it with its owner, without a finalizer."""
    result: Manifest = {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels(owner, stage),
        "ownerReferences": [
            {"apiVersion": API_VERSION, "kind": owner.kind, "name": owner.name, "uid": owner.uid, "controller": True, "blockOwnerDeletion": False}
        ],
    }
    if annotations:
        result["annotations"] = annotations
    return result


def with_hash(manifest: Manifest) -> Manifest:
    """Return `manifest` with an annotation that has the hash of all of it, to see later whether it must be written again."""
    annotations = {**manifest["metadata"].get("annotations", {}), APPLIED_HASH: content_hash(manifest)}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def content_hash(value: Any) -> str:
    """Return 16 hex digits of the sha256 of `value` in canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
