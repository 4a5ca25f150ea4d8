"""Which changes a campaign makes, from which specs, and in which situations a resource is when it is edited."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from support.campaign.meanings import names, transitions
from support.campaign.transitions import NAME, Body, Transition
from support.schema_walk import mutable
from support.specs import FULL, VARIANTS

_SHARE: Final = {"full": 16, "least": 6, "by reference": 6, "waiting": 6, "other": 12}
"""Lanes of a kind that ends: nearly no edit is let in, so that many changes are tried beside one resource at a time."""
_SHARE_SERVICE: Final = {"full": 72, "least": 12, "by reference": 12, "waiting": 8, "other": 20}
"""Lanes of an InferenceService: everything can be edited, one change at a time."""
_EDITS: Final = 8
_OTHERS: Final = 3
"""Changes of each lane whose resource waits, has ended or answers: of fields that may be edited, and of those that may not."""
_STORAGE: Final = Transition(("storage", "size"), "one", "1")
_OF_OTHER_BASES: Final = 48
"""Changes of each of the other specs, at least."""


class Situation(Enum):
    """Where a resource is when it is edited."""

    MADE = "made"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    ENDED = "ended"
    ROLLED_OUT = "rolled out"


@dataclass
class Lane:
    """A namespace in which one resource is edited again and again; `changes` are those left."""

    kind: str
    namespace: str
    base: str
    situation: Situation
    spec: Body
    rng: random.Random
    changes: list[Transition] = field(default_factory=list)


def bases(kind: str) -> dict[str, Body]:
    """Return the specs that a campaign begins with: every field set, as few as can be, and all inputs by reference."""
    full = FULL[kind]
    least = {
        "FineTuneJob": ("model", "dataset"), "ModelMerge": ("adapter", "base"), "Evaluation": ("model", "dataset"), "InferenceService": ("model",),
    }[kind]  # fmt: skip
    return {"full": full, "least": {name: full[name] for name in least}, "by reference": {**full, **VARIANTS[kind]}}


def waiting(kind: str, spec: Body) -> Body:
    """Return a spec with an input that is not there yet: the claim `later`."""
    name = "adapter" if kind == "ModelMerge" else "model"
    return {**spec, name: {"uri": "pvc://later/x"}}


def lanes(kind: str, seed: int, operations: int) -> list[Lane]:
    """Return the lanes of a kind with changes for at least so many operations: a creation and an edit each, and the way back.

    Every change of the full spec comes first; then those of the others, in an order that `seed` decides.
    """
    rng = random.Random(f"{seed} {kind}")
    situations = _situations(kind)
    by_base: dict[str, list[Transition]] = {name: transitions(kind, spec) for name, spec in bases(kind).items()}
    by_base["full"] += names()
    for changes in by_base.values():
        rng.shuffle(changes)
    # Beside an `output` the storage means nothing, which is explained; so it must be met whatever the seed.
    by_base["by reference"].sort(key=lambda each: each != _STORAGE)
    made = [
        Lane(kind, f"{kind.lower()}-{number}", base, situation, bases(kind)[base], random.Random(f"{seed} {kind} {number}"))
        for number, (base, situation) in enumerate(situations)
    ]
    for lane in made:
        if lane.situation is Situation.WAITING:
            lane.spec = waiting(kind, lane.spec)
        elif lane.situation is Situation.SUSPENDED:
            lane.spec = {**lane.spec, "suspend": True}
    _deal([lane for lane in made if lane.situation is Situation.MADE and lane.base == "full"], by_base["full"])
    for lane in made:
        if lane.situation is not Situation.MADE:
            # What may be edited is all that matters to them; of the rest a few, to see that they are refused here as well.
            edited = [each for each in by_base["full"] if each.path[0] in mutable(kind)]
            others = [each for each in by_base["full"] if each.path[0] not in mutable(kind) and each.path != NAME]
            lane.changes = rng.sample(edited, min(len(edited), _EDITS)) + rng.sample(others, min(len(others), _OTHERS))
            rng.shuffle(lane.changes)
    left = max(0, operations // 2 - sum(len(lane.changes) for lane in made))
    for base in ("least", "by reference"):
        _deal([lane for lane in made if lane.situation is Situation.MADE and lane.base == base], by_base[base][: max(left // 2, _OF_OTHER_BASES)])
    return made


def _situations(kind: str) -> Iterator[tuple[str, Situation]]:
    """Yield base and situation of each lane."""
    share = _SHARE_SERVICE if kind == "InferenceService" else _SHARE
    others = {"FineTuneJob": (Situation.SUSPENDED, Situation.ENDED), "InferenceService": (Situation.ROLLED_OUT,)}.get(kind, (Situation.ENDED,))
    for base in bases(kind):
        yield from ((base, Situation.MADE) for _ in range(share[base]))
    yield from (("full", Situation.WAITING) for _ in range(share["waiting"]))
    yield from (("full", others[number % len(others)]) for number in range(share["other"]))


def _deal(to: list[Lane], changes: list[Transition]) -> None:
    """Give the changes to the lanes in turn."""
    for number, lane in enumerate(to):
        lane.changes = changes[number :: len(to)]
