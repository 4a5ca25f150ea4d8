"""The base of every message between operator and trainer: camelCase JSON, frozen, no unknown field."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Wire(BaseModel):
    """A message in camelCase JSON; an unknown field is an error, so that two versions that disagree say so."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", protected_namespaces=())

    def to_json(self) -> str:
        """Return the message as one line of JSON, without the fields that are None."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
