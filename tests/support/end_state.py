"""What two runs are compared by: the objects at their end, and how often each was made and deleted on the way."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final

from support.api_server import Body
from support.conductor import MADE, Admin
from support.paths import COLLECTIONS, everywhere

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_HASH: Final = re.compile(r'("tunewright\.dev/applied-hash": )"[0-9a-f]{16}"')
_ADDRESS: Final = re.compile(r'"10\.96\.\d+\.\d+"')


def end_states(admin: Admin) -> dict[str, dict[str, Body]]:
    """Return what the operator made or wrote to in every namespace, by plural and name, with what differs from run to run masked."""
    found: defaultdict[str, dict[str, Body]] = defaultdict(dict)
    for kind in MADE:
        for body in admin.items(everywhere(kind)):
            found[body["metadata"]["namespace"]][f"{COLLECTIONS[kind][1]}/{body['metadata']['name']}"] = body
    return {namespace: masked(namespace, objects) for namespace, objects in found.items()}


def masked(namespace: str, objects: dict[str, Body]) -> dict[str, Body]:
    """Return objects of one namespace with uids, times, addresses and the namespace's name replaced."""
    uids = {body["metadata"]["uid"]: f"uid of {name}" for name, body in objects.items()}
    bare = {name: {**body, "metadata": _without_volatile(body["metadata"])} for name, body in objects.items()}
    text = json.dumps(bare, sort_keys=True)
    for uid, name in uids.items():
        text = text.replace(uid, name)
    text = _ADDRESS.sub('"ADDRESS"', _HASH.sub(r'\1"HASH"', _TIME.sub("TIME", text)))
    return dict(json.loads(re.sub(rf"\b{re.escape(namespace)}\b", "NAMESPACE", text)))


def _without_volatile(meta: Body) -> Body:
    return {key: value for key, value in meta.items() if key not in ("resourceVersion", "managedFields", "creationTimestamp")}


def difference(expected: Any, found: Any, path: str = "") -> list[str]:
    """Return where two values differ, a line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [line for key in sorted({*expected, *found}) for line in difference(expected.get(key, "nothing"), found.get(key, "nothing"), f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [line for index, pair in enumerate(zip(expected, found, strict=True)) for line in difference(*pair, f"{path}[{index}]")]
    return [] if expected == found else [f"{path}: {expected!r} became {found!r}"]


def operations(audited: Iterable[Body]) -> dict[str, Counter[str]]:
    """Count creations and deletions of each object by namespace, from the API server's audit log. Events are a courtesy and not counted."""
    count: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in audited:
        target, code = each.get("objectRef", {}), each["responseStatus"]["code"]
        if target.get("resource") == "events" or target.get("subresource") or "namespace" not in target:
            continue
        done = "create" if code == 201 else "delete" if each["verb"] == "delete" and code == 200 else None
        if done:
            # The name of what is made by POST is not in its path.
            count[target["namespace"]][f"{done} {target['resource']}/{target.get('name', '')}"] += 1
    return count
