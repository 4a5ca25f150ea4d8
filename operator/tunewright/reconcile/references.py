"""What a resource refers to, read from its raw spec: needed before, and even when, the spec can be resolved."""

from collections.abc import Iterator, Mapping
from typing import Any

from tunewright.api.common import Kind
from tunewright.contract.uris import Location, parse_uri

Key = tuple[Kind, str]


def references(body: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the resources that `body` names directly, each once, in the order of its spec."""
    return tuple(dict.fromkeys(_references(body.get("spec", {}))))


def locations(body: Mapping[str, Any]) -> tuple[Location, ...]:
    """Return the locations that `body` names directly; one that cannot be parsed is left to the resolver's message."""
    found = []
    for uri in dict.fromkeys(_values(body.get("spec", {}), "uri")):
        try:
            found.append(parse_uri(uri))
        except ValueError:
            continue
    return tuple(found)


def find_cycle(start: Key, resources: Mapping[Key, Mapping[str, Any]]) -> tuple[Key, ...] | None:
    """Return a path of references from `start` back to itself, or None."""
    stack: list[tuple[Key, ...]] = [(start,)]
    seen: set[Key] = set()
    while stack:
        path = stack.pop()
        for key in references(resources.get(path[-1], {})):
            if key == start:
                return (*path, start)
            if key not in seen:
                seen.add(key)
                stack.append((*path, key))
    return None


def _references(node: Any) -> Iterator[Key]:
    """Walk a spec for `ref` and `evaluationRef`."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == "ref":
                yield Kind(value["kind"]), value["name"]
            elif name == "evaluationRef":
                yield Kind.EVALUATION, value["name"]
            else:
                yield from _references(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _references(value)


def _values(node: Any, name: str) -> Iterator[str]:
    """Walk a spec for every string under the key `name`."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == name and isinstance(value, str):
                yield value
            else:
                yield from _values(value, name)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _values(value, name)
