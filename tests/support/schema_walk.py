"""Walks the schema of a kind: the leaves of its spec, and for each another value that the schema allows."""

import copy
import functools
from collections.abc import Iterator
from typing import Any, Final

from tunewright.api.common import Kind
from tunewright.api.crd import crd, definition

Path = tuple[str | int, ...]

_OTHER_TEXT: Final = {
    "uri": "pvc://shared/other",
    "secretName": "other-secret",
    "storageClassName": "fast",
    "cpu": "7",
    "memory": "77Gi",
    "size": "77Gi",
    "key": "other.example/key",
    "value": "other",
    "name": "other",
}
"""Text has rules that its pattern alone does not tell (a claim must exist, a name must be another), so other values are given by the field's name."""


@functools.cache
def spec_schema(kind: str) -> dict[str, Any]:
    """Return the structural schema of a kind's spec, to be read only."""
    version = crd(definition(Kind(kind)))["spec"]["versions"][0]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def leaves(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every field that holds a value itself, with its schema; an item of a list has the index 0, a list of plain values is one leaf."""
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from leaves(child, (*path, name))
    elif schema.get("type") == "array" and "properties" in schema["items"]:
        yield from leaves(schema["items"], (*path, 0))
    else:
        yield path, schema


def get(value: Any, path: Path) -> Any:
    """Return what is at `path`; KeyError, IndexError or TypeError when there is nothing."""
    for step in path:
        value = value[step]
    return value


def changed(spec: dict[str, Any], path: Path, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `spec` with another allowed value at `path`."""
    result = copy.deepcopy(spec)
    get(result, path[:-1])[path[-1]] = another(get(spec, path), str(path[-1]), schema)
    return result


def another(value: Any, name: str, schema: dict[str, Any]) -> Any:
    """Return another value that the schema allows."""
    if "enum" in schema:
        return next(each for each in schema["enum"] if each != value)
    match schema["type"]:
        case "boolean":
            return not value
        case "integer":
            return value + 1 if value < schema["maximum"] else value - 1
        case "number":
            return value / 2 if value else schema["maximum"] / 2
        case "array":
            return value[:-1]
        case "string":
            return _OTHER_TEXT[name]
    raise AssertionError(f"no other value for {name}: {schema}")


@functools.cache
def mutable(kind: str) -> frozenset[str]:
    """Return the fields of a spec that no rule freezes."""
    properties = spec_schema(kind)["properties"]
    return frozenset(
        name for name, field in properties.items() if not any("self == oldSelf" in rule["rule"] for rule in field.get("x-kubernetes-validations", []))
    )
