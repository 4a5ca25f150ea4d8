"""Building blocks of the API types: the base model and the annotations that pydantic lacks and Kubernetes wants.

Every description here is printed by `kubectl explain`, so it is written for the user and starts with the field's JSON name.
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_NAME: Final = 52
"""Longest name of a resource: with the longest suffix (`-prepare` and a Pod's random part) it still is a 63-character label."""


class ApiModel(BaseModel):
    """Base of all API types: camelCase on the wire. Unknown fields are rejected by the API server, and tolerated here, so that
    an operator that is older than its CRDs keeps working."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", protected_namespaces=())


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Return the schema extension for CEL `rules`, pairs of expression and message; the message says what is allowed."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def immutable(field: str) -> dict[str, Any]:
    """Return the CEL rule that freezes a field once set."""
    return cel(("self == oldSelf", f"`{field}` cannot change once set; create a resource with another name"))


def exactly_one(*fields: str) -> tuple[str, str]:
    """Return the CEL rule that one and only one of `fields` is set."""
    count = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return f"{count} == 1", "exactly one of " + ", ".join(f"`{field}`" for field in fields) + " must be set"


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}$")]
"""What Kubernetes lets a Secret or a StorageClass be called: any other name would be refused in the Pod or the claim, when nobody looks."""
LabelKey = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$")]
"""Key of a label or a taint. Kubernetes allows 317 characters, of which 253 before the slash, which a pattern cannot count."""
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
Uid = Annotated[str, Field(max_length=64)]
Sentence = Annotated[str, Field(max_length=4096)]
Score01 = Annotated[float, Field(ge=0, le=1)]
