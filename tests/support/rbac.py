"""What roles grant and what an audit log shows as used, as sets of the same permissions."""

from collections.abc import Iterable, Mapping
from typing import Any

Permission = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)."""


def granted(roles: Iterable[Mapping[str, Any]]) -> set[Permission]:
    """Return every permission that the rules of `roles` grant."""
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


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


def _needed(request: Mapping[str, Any]) -> set[Permission]:
    target = request["objectRef"]
    resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
    group = target.get("apiGroup", "")
    needed = {(request["verb"], group, resource)}
    if request["verb"] == "patch" and request["responseStatus"]["code"] == 201:
        # Server-side apply that makes the object: the API server asks for `create` too, and logs the patch only.
        needed.add(("create", group, resource))
    return needed
