"""Inputs after resolution: references have become locations with digests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunewright.build.volumes import mounted_path
from tunewright.contract.run_spec import ModelSource, Source


@dataclass(frozen=True)
class ResolvedSource:
    """Where an input is; `digest`, and an adapter's `lora_rank`, are known where a resource of this cluster made it."""

    uri: str
    digest: str | None = None
    secret_name: str | None = None
    lora_rank: int | None = None

    @classmethod
    def of_artifact(cls, artifact: Mapping[str, Any], lora_rank: int | None = None) -> "ResolvedSource":
        """Return the source that an artifact of a status is."""
        return cls(uri=artifact["uri"], digest=artifact["digest"], lora_rank=lora_rank)

    def source(self) -> Source:
        """Return what the trainer is told."""
        return Source(uri=self.uri, path=mounted_path(self.uri), digest=self.digest)


@dataclass(frozen=True)
class ResolvedModel:
    """A base model, and the adapter on top of it where there is one."""

    base: ResolvedSource
    adapter: ResolvedSource | None = None

    @property
    def sources(self) -> tuple[ResolvedSource, ...]:
        """The base, then the adapter."""
        return (self.base, self.adapter) if self.adapter else (self.base,)

    @property
    def digest(self) -> str | None:
        """The digest that tells this model from others: the adapter's where there is one."""
        return self.sources[-1].digest

    def model_source(self) -> ModelSource:
        """Return what the trainer is told."""
        return ModelSource(base=self.base.source(), adapter=self.adapter.source() if self.adapter else None)
