"""What stands in every namespace of a campaign: places for data, and resources that others may refer to."""

from typing import Final

from support.campaign.transitions import Body
from support.worlds import digest, ended
from tunewright.api import API_VERSION

_ROWS: Final = {"uri": "configmap://rows/train.jsonl"}
_NOBODY: Final = {"ref": {"kind": "FineTuneJob", "name": "nobody"}}

PLACES: Final[tuple[Body, ...]] = (
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}},
    {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    },
)  # fmt: skip

ENDED: Final[tuple[tuple[str, str, Body], ...]] = (
    ("ModelMerge", "base", {"adapter": _NOBODY}),
    ("FineTuneJob", "source", {"model": {"uri": "hf://org/base"}, "dataset": _NOBODY}),
    ("Evaluation", "check", {"model": _NOBODY, "dataset": _ROWS}),
    ("Evaluation", "failed", {"model": _NOBODY, "dataset": _ROWS}),
)
"""Kind, name and spec of resources that wait until a status is written that says they have ended."""


def ended_status(kind: str, name: str) -> Body:
    """Return the patch that brings one of them to its end; `check` passed the model of `base`."""
    if name == "failed":
        found = ended(kind, name, succeeded=False, reason="BadData", message="line 7 is not JSON")
    elif kind == "Evaluation":
        found = ended(kind, name, verdict="Passed", modelDigest=digest("b"))
    else:
        found = ended(kind, name)
    return {"status": found["status"]}


def resource(kind: str, name: str, spec: Body) -> Body:
    """Return a resource of ours."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
