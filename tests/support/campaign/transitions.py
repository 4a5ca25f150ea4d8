"""Single-field changes of a spec, by the type of the field: what a user may type there, right or wrong."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from support.schema_walk import Path, get

Body = dict[str, Any]
Schema = dict[str, Any]


class Absent(Enum):
    """The value of a field that is taken away."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
SELF: Final = "the-resource-itself"
"""Stands in a value for the name of the resource that the change is made to."""
NAME: Final[Path] = ("metadata", "name")
"""The path of the one change that is not in the spec."""


@dataclass(frozen=True)
class Transition:
    """A change of the field at `path` to `value`, called `name`; `beside` are objects that must be there before."""

    path: Path
    name: str
    value: Any
    beside: tuple[Body, ...] = ()

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.name}"

    def applied(self, spec: Body) -> Body:
        """Return a copy of `spec` with the change; what is not there on the way, for the spec may be another by now, is made."""
        result = copy.deepcopy(spec)
        node: Any = result
        for step, below in zip(self.path[:-1], self.path[1:], strict=True):
            empty: Any = {} if isinstance(below, str) else []
            if isinstance(step, int):
                node.extend([empty] if len(node) <= step else [])
            elif node.get(step) is None:
                node[step] = empty
            node = node[step]
        last = self.path[-1]
        if self.value is ABSENT:
            node.pop(last, None)
        elif isinstance(last, int) and len(node) <= last:
            node.append(copy.deepcopy(self.value))
        else:
            node[last] = copy.deepcopy(self.value)
        return result


def dotted(path: Path) -> str:
    """Return a path as the API server writes it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def nodes(schema: Schema, spec: Any, path: Path = ()) -> Iterator[tuple[Path, Schema, Any]]:
    """Yield every field that the schema knows below a present object, with its value or ABSENT; of a list the first item."""
    for name, child in schema.get("properties", {}).items():
        value = spec.get(name, ABSENT) if isinstance(spec, dict) else ABSENT
        yield (*path, name), child, value
        if isinstance(value, dict) or (value is ABSENT and "default" in child):
            yield from nodes(child, value, (*path, name))
        elif isinstance(value, list) and value:
            yield (*path, name, 0), child["items"], value[0]
            yield from nodes(child["items"], value[0], (*path, name, 0))


def by_type(path: Path, schema: Schema, value: Any, required: bool) -> Iterator[Transition]:
    """Yield the changes that the type of a field suggests, good ones and bad ones."""
    name = str(path[-1])
    if value is not ABSENT and isinstance(path[-1], str):
        yield Transition(path, "deleted, required" if required else "deleted", ABSENT)
    yield Transition(path, "null", None)
    for what, wrong in _OTHER_TYPES.items():
        if what != schema["type"] and not (what == "integer" and schema["type"] == "number"):
            yield Transition(path, f"{what} for {schema['type']}", wrong)
    match schema["type"]:
        case "boolean":
            found: Iterator[tuple[str, Any]] = iter([("true", True), ("false", False)])
        case "integer" | "number":
            found = _numbers(schema)
        case "string":
            found = _texts(schema, name)
        case "array":
            found = _lists(schema, value)
        case _:
            found = _objects(schema, value)
    yield from (Transition(path, what, other) for what, other in found if type(other) is not type(value) or other != value)


_OTHER_TYPES: Final[Body] = {"string": "1", "integer": 7, "boolean": True, "array": [], "object": {"x": 1}}


def _numbers(schema: Schema) -> Iterator[tuple[str, Any]]:
    """Yield bounds, what lies beyond them, and numbers that computers stumble over."""
    low, high = schema["minimum"], schema["maximum"]
    for what, bound, flag, beyond in (("minimum", low, "exclusiveMinimum", low - 1), ("maximum", high, "exclusiveMaximum", high + 1)):
        yield f"{what}, exclusive" if schema.get(flag) else what, bound
        yield f"beyond the {what}", beyond
    yield "negative", -1
    yield "2^31", 2**31
    yield "2^53 + 1", 2**53 + 1
    yield "2^63", 2**63
    if schema["type"] == "integer":
        yield "next", low + 1
        yield "in between", (low + high) // 3
        # Far above the minimum: a short time to live would end while the resource is still compared with its twins.
        yield "a whole number with a point", float((low + high) // 2)
        yield "a fraction", low + 1.5
    else:
        yield "in between", low + (high - low) / 3
        yield "hair above the minimum", low + 1e-9
        yield "hair below the maximum", high - 1e-9
        yield "tiny", 1e-300
        yield "huge", 1e308


_ODD_TEXTS: Final = {
    "empty": "", "blank": " ", "with a space": "a b", "with a newline": "a\nb", "ending with a newline": "abcdefgh\n", "with a tab": "a\tb", "with a NUL": "a\0b",
    "a variable": "$(HOME)", "the variable of the RunSpec": "$(TUNEWRIGHT_RUN_SPEC)", "unicode": "模型", "an umlaut": "ä", "an emoji": "\U0001f600",
    "a leading dash": "-x", "a flag": "--trust-remote-code", "shell characters": "a;id|cat&&`y`>z", "quotes": "a'b\"c", "a template": "{{ x }}", "a way out": "../x",
    "a percent sign": "%s", "upper case": "ABC", "a leading dot": ".x", "a trailing dot": "x.", "two dots": "a..b", "a trailing dash": "x-", "a dash before a dot": "a-.b",
    "a slash": "a/b", "two slashes": "a/b/c", "a leading slash": "/x", "a trailing slash": "x/", "an underscore": "a_b", "a colon": "a:b", "a comma": "a,b", "an equals sign": "a=b",
}  # fmt: skip


def _texts(schema: Schema, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each choice of an enum and what is none, or bounds of the length and texts that parsers stumble over."""
    if "enum" in schema:
        yield from ((f"the choice {choice}", choice) for choice in schema["enum"])
        yield "a choice in lower case", schema["enum"][0].lower()
        yield "no choice", "Nonsense"
        yield "no choice, empty", ""
        return
    longest = schema["maxLength"]
    yield "longest", fitting(schema, longest)
    yield "longer than allowed", fitting(schema, longest) + "a"
    if schema.get("minLength", 0) > 1:
        yield "shorter than allowed", "a" * (schema["minLength"] - 1)
    yield from _ODD_TEXTS.items()


def fitting(schema: Schema, length: int) -> str:
    """Return a text of that length that the pattern allows."""
    texts = ("a" * length, "1" * length, f"{'a' * (length - 2)}/n", f"pvc://shared/{'a' * (length - 13)}")
    return next(each for each in texts if len(each) == length and re.search(schema.get("pattern", ""), each))


def _lists(schema: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the list emptied, popped, pushed to, filled, overfilled, turned round, and with an item twice."""
    present = [] if value is ABSENT or value is None else value
    items = [*present, *(item for item in examples(schema) if item not in present)]
    yield "empty", []
    yield "popped", present[:-1]
    yield "pushed", items[: len(present) + 1]
    yield "turned round", items[1::-1]
    yield "an item twice", [*present, *(present[:1] or items[:1] * 2)]
    yield "full", items[: schema["maxItems"]]
    yield "too long", items[: schema["maxItems"] + 1]
    yield "an item of another type", [*present, 7]
    yield "an item that is null", [*present, None]


def examples(schema: Schema) -> list[Any]:
    """Return one item more than the list may have, all different."""
    keys, item = schema.get("x-kubernetes-list-map-keys", ()), schema["items"]
    if "properties" not in item:
        return [f"module_{number}" for number in range(schema["maxItems"] + 1)]
    if keys and "enum" in item["properties"][keys[0]]:
        return [{keys[0]: choice, "minimum": 0.5} for choice in item["properties"][keys[0]]["enum"]]
    more = {"uri": "hf://org/another"} if "uri" in item["properties"] else {"value": "v"}
    key = keys[0] if keys else "key"
    return [{key: f"item{number}", **more} for number in range(schema["maxItems"] + 1)]


def _objects(schema: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the object emptied, and with a field that nobody knows."""
    yield "empty", {}
    yield "an unknown field", {**(value if isinstance(value, dict) else {}), "nonsense": 1}


def is_present(spec: Body, path: Path) -> bool:
    """Return whether something stands at `path`."""
    try:
        get(spec, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True
