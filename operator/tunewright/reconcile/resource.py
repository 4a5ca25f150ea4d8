"""A resource of ours as the API server gave it, parsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from tunewright.api.common import Kind
from tunewright.api.crd import definition
from tunewright.api.schema import ApiModel
from tunewright.contract.run_spec import Owner

SpecT = TypeVar("SpecT", bound=ApiModel, covariant=True)


@dataclass(frozen=True)
class Resource(Generic[SpecT]):
    """Its identity, its spec as a type, its status as it stands (an older operator may have written it)."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    spec: SpecT
    status: Mapping[str, Any]

    @property
    def owner(self) -> Owner:
        """The identity that goes into objects and manifests."""
        return Owner(kind=self.kind, namespace=self.namespace, name=self.name, uid=self.uid)

    @property
    def display(self) -> str:
        """How messages name it."""
        return f"{self.kind} `{self.name}`"


def parse_resource(body: Mapping[str, Any]) -> Resource[ApiModel]:
    """Parse a resource; raises pydantic.ValidationError for a spec that an older CRD let in."""
    kind = Kind(body["kind"])
    meta = body["metadata"]
    return Resource(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        deleting="deletionTimestamp" in meta,
        spec=definition(kind).spec.model_validate(body["spec"]),
        status=body.get("status") or {},
    )


def timestamp(now: datetime) -> str:
    """Return `now` in the API's form, to the second."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Parse a time of the API."""
    return datetime.fromisoformat(text)
