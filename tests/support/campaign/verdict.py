"""What the schema and the types say of a spec, to be held against what the API server says."""

import functools
import re
from typing import Any, Final

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from support.campaign.transitions import NAME, Body, Schema, dotted
from support.schema_walk import Path, spec_schema
from tunewright.api.common import Kind
from tunewright.api.crd import crd, definition

TRANSITION_RULES: Final = ("cannot change once set", "cannot be added or removed", "can be changed but not removed")
"""What only an edit is refused for."""


def schema_refuses(kind: str, spec: Body) -> bool:
    """Return whether the structural schema does not allow `spec`; rules in CEL are not looked at."""
    if not isinstance(spec, dict):
        return True
    schema = spec_schema(kind)
    pruned = _without_nulls(schema, spec)
    return not _validator(kind).is_valid(pruned) or _repeats(schema, pruned)


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(_closed(spec_schema(kind)))


@functools.cache
def rules(kind: str) -> frozenset[str]:
    """Return the messages of all CEL rules of a kind, which are what a spec that its schema allows may be refused with."""
    found: set[str] = set()

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            found.update(rule["message"] for rule in node.get("x-kubernetes-validations", []))
            for child in node.values():
                collect(child)
        elif isinstance(node, list):
            for child in node:
                collect(child)

    collect(crd(definition(Kind(kind)))["spec"]["versions"][0]["schema"])
    return frozenset(found)


def type_refuses(kind: str, spec: Body) -> str | None:
    """Return what the operator's own type says against a spec, or None."""
    try:
        definition(Kind(kind)).spec.model_validate(spec)
    except ValidationError as error:
        return str(error)
    return None


def names_the_field(message: str, path: Path) -> bool:
    """Return whether a refusal tells where the fault is: the field, what it is part of, or a rule that has its name."""
    whole = path if path == NAME else ("spec", *path)
    if any(re.search(rf"{re.escape(dotted(whole[:length]))}\b", message) for length in range(len(whole), 1, -1)):
        return True
    return any(isinstance(step, str) and re.search(rf"`[^`]*\b{step}\b[^`]*`", message) for step in path)


def _closed(schema: Schema) -> Schema:
    """Return the schema in JSON Schema's newer form, with no other field than its own allowed: kubectl asks the server to be strict."""
    result = {key: value for key, value in schema.items() if key not in ("default", "exclusiveMinimum", "exclusiveMaximum", "pattern")}
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if schema.get(flag):
            result[flag] = result.pop(bound)
    if "pattern" in schema:
        # Python's `$` lets a newline pass at the end, that of the server does not.
        result["pattern"] = re.sub(r"\$$", r"\\Z", schema["pattern"])
    if "properties" in schema:
        result["properties"] = {name: _closed(child) for name, child in schema["properties"].items()}
        result["additionalProperties"] = False
    if "items" in schema:
        result["items"] = _closed(schema["items"])
    return result


def _without_nulls(schema: Schema, value: Any) -> Any:
    """Return a value as the server sees it: a field of ours that is null is one that is absent."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: _without_nulls(properties.get(key, {}), each) for key, each in value.items() if each is not None or key not in properties}
    if isinstance(value, list):
        return [_without_nulls(schema.get("items", {}), each) for each in value]
    return value


def _repeats(schema: Schema, value: Any) -> bool:
    """Return whether a set has an item twice, or a list that is a map a key."""
    if isinstance(value, dict):
        return any(_repeats(schema.get("properties", {}).get(key, {}), each) for key, each in value.items())
    if not isinstance(value, list):
        return False
    match schema.get("x-kubernetes-list-type"):
        case "set":
            keys = [repr(each) for each in value]
        case "map":
            keys = [repr([each.get(key) for key in schema["x-kubernetes-list-map-keys"]]) for each in value if isinstance(each, dict)]
        case _:
            keys = []
    return len(set(keys)) < len(keys) or any(_repeats(schema.get("items", {}), each) for each in value)
