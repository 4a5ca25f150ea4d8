"""The columns of `kubectl get`: worked out from a body and the CRD's own definitions, and read back from kubectl's table."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tunewright.api.common import Kind
from tunewright.api.crd import DEFINITIONS

_COLUMNS: Final = {each.kind: each.columns for each in DEFINITIONS}
_CONDITION: Final = re.compile(r'\.status\.conditions\[\?\(@\.type=="(\w+)"\)\]\.(\w+)')


def printed(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a resource as kubectl prints them; Age is left out."""
    return {column.name.upper(): _text(_value(body, column.path)) for column in _COLUMNS[Kind(body["kind"])] if column.name != "Age" and not column.wide}


def read_table(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return the rows of kubectl's table by namespace and name; a cell begins where its heading does."""
    head, *lines = text.splitlines()
    places = [(match.group(), match.start()) for match in re.finditer(r"\S+", head)]
    ends = [start for _, start in places[1:]] + [None]
    rows = [{name: line[start:end].strip() for (name, start), end in zip(places, ends, strict=True)} for line in lines]
    return {(row["NAMESPACE"], row["NAME"]): row for row in rows}


def _value(body: Mapping[str, Any], path: str) -> Any:
    found = _CONDITION.fullmatch(path)
    if found:
        return next((each[found.group(2)] for each in body["status"].get("conditions", []) if each["type"] == found.group(1)), None)
    value: Any = body
    for name in path.strip(".").split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
