"""What a resource has come to: its status and its objects, without what differs from one resource to the next by nature."""

import json
import re
from collections.abc import Iterable
from typing import Final

from support.campaign.transitions import Body
from tunewright.build.names import APPLIED_HASH

GONE: Final[Body] = {"status": {"state": "Gone"}, "children": {}}
"""The snapshot of a resource that is not there any more."""

_GIVEN: Final = frozenset({"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def snapshot(resource: Body, children: Iterable[Body]) -> Body:
    """Return status and children with name, uids and times replaced, and without what only counts edits."""
    children = list(children)
    made = {f"{each['kind']}/{each['metadata']['name']}": _bare(each) for each in children}
    status = {key: value for key, value in resource.get("status", {}).items() if key != "observedGeneration"}
    conditions = {each["type"]: {key: value for key, value in each.items() if key != "observedGeneration"} for each in status.pop("conditions", [])}
    text = json.dumps({"status": {**status, "conditions": conditions}, "children": made}, sort_keys=True)
    for each in (resource, *children):
        text = text.replace(each["metadata"]["uid"], f"UID of {each['kind']}")
    text = re.sub(rf"\b{re.escape(resource['metadata']['name'])}\b", "NAME", text)
    return dict(json.loads(_TIME.sub("TIME", text)))


def _bare(child: Body) -> Body:
    """Return a child without what the server gives it; its status is the stand-in's."""
    meta = {key: value for key, value in child["metadata"].items() if key not in _GIVEN}
    # The hash is of the whole object, with the uid of its owner.
    annotations = {key: value for key, value in meta.pop("annotations", {}).items() if key != APPLIED_HASH}
    spec = {key: value for key, value in child["spec"].items() if key not in ("clusterIP", "clusterIPs")}
    return {"metadata": {**meta, "annotations": annotations}, "spec": spec}


def is_blocked(shot: Body) -> bool:
    """Return whether the resource waits for an input or for its gate: then nothing is made, and what is there stays."""
    conditions = shot["status"].get("conditions", {})
    return any(conditions.get(each, {}).get("status") == "False" for each in ("InputsReady", "EvaluationPassed"))


def makes_nothing(shot: Body) -> bool:
    """Return whether nothing is made for the resource, since it waits or is suspended."""
    return is_blocked(shot) or (shot["status"]["state"] == "Suspended" and not shot["children"])


def has_ended(shot: Body) -> bool:
    """Return whether the resource has succeeded or failed for good, or is gone."""
    return shot["status"].get("conditions", {}).get("Succeeded", {}).get("status", "Unknown") != "Unknown" or shot == GONE
