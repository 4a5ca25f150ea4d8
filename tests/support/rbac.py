"""What the roles bound to a user grant and what an audit log shows as used, as sets of the same permissions."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Permission = tuple[str, str, str, str]
"""(verb, API group, resource or resource/subresource, namespace). A cluster-wide request has no namespace, a cluster-wide grant is for EVERYWHERE."""
EVERYWHERE: Final = "*"
_OF_COLLECTIONS: Final = frozenset({"list", "watch"})


def granted(objects: Iterable[Mapping[str, Any]], user: str) -> set[Permission]:
    """Return every permission that the bindings among `objects` give to the service account `user` by name."""
    objects = list(objects)
    roles = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in objects if each["kind"] in ("Role", "ClusterRole")
    }
    found: set[Permission] = set()
    for binding in objects:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding") or user not in map(_user, binding.get("subjects", [])):
            continue
        where = binding["metadata"]["namespace"] if binding["kind"] == "RoleBinding" else EVERYWHERE
        reference = binding["roleRef"]
        role = roles[reference["kind"], where if reference["kind"] == "Role" else "", reference["name"]]
        found |= {
            (verb, group, resource, where) for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
        }
    return found


def used(audited: Iterable[Mapping[str, Any]]) -> set[Permission]:
    """Return every permission that the requests of an audit log needed and got."""
    return {permission for request in audited if "objectRef" in request and request["responseStatus"]["code"] != 403 for permission in _needed(request)}


def denied(audited: Iterable[Mapping[str, Any]]) -> set[Permission]:
    """Return every permission that a request was refused for; a 403 of an admission plugin or a quota is none."""
    return {
        permission
        for request in audited
        if "objectRef" in request and request.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
        for permission in _needed(request)
    }


def used_but_not_granted(used: set[Permission], granted: set[Permission]) -> set[Permission]:
    """Return what was used that no grant covers."""
    return {each for each in used if not {each, (*each[:3], EVERYWHERE)} & granted}


def granted_but_not_used(granted: set[Permission], used: set[Permission]) -> set[Permission]:
    """Return the grants that no request needed, verb, resource and scope: a cluster-wide `list` is not used by listing a namespace."""
    return {grant for grant in granted if not any(_needs(request, grant) for request in used)}


def _needs(request: Permission, grant: Permission) -> bool:
    """Return whether the request uses the grant, scope and all."""
    verb, _, _, where = grant
    # An object lies in a namespace, whichever: only for whole collections is there a request for every namespace at once.
    return request[:3] == grant[:3] and (request[3] == where or (where == EVERYWHERE and (not request[3] or verb not in _OF_COLLECTIONS)))


def _user(subject: Mapping[str, Any]) -> str:
    """Return the user name of a subject."""
    return f"system:serviceaccount:{subject['namespace']}:{subject['name']}" if subject["kind"] == "ServiceAccount" else str(subject["name"])


def _needed(request: Mapping[str, Any]) -> set[Permission]:
    target = request["objectRef"]
    resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
    group, where = target.get("apiGroup", ""), target.get("namespace", "")
    needed = {(request["verb"], group, resource, where)}
    if request["verb"] == "patch" and request["responseStatus"]["code"] == 201:
        # Server-side apply that makes the object: the API server asks for `create` too, and logs the patch only.
        needed.add(("create", group, resource, where))
    return needed
