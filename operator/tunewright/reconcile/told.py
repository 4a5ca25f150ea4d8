"""What a Job that exists was told. Its RunSpec is the record of what its inputs were resolved to, whatever they have become since."""

import json
from collections.abc import Mapping
from typing import Any

from tunewright.contract.run_spec import RUN_SPEC_ENV
from tunewright.reconcile.world import Body


def run_spec(job: Body | None) -> Mapping[str, Any]:
    """Return the RunSpec of a Job as plain JSON, for another version of the operator may have written it; empty for no Job."""
    containers = (job or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    text = next((each["value"] for container in containers for each in container.get("env", []) if each["name"] == RUN_SPEC_ENV), "{}")
    found: Mapping[str, Any] = json.loads(text)
    return found


def resolved(source: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a source of a RunSpec as it stands in a status: its location and, where a resource made it, its digest."""
    return None if source is None else {key: source[key] for key in ("uri", "digest") if key in source}
