"""Alarms that are known and stay, each with the reason. One that no longer occurs must go from here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from support.campaign.oracles import Alarm
from support.campaign.transitions import dotted


@dataclass(frozen=True)
class Explained:
    """Alarms of one oracle about a field (or any below it) of some kinds, whose message has `words`; `base` where it takes a certain spec."""

    oracle: str
    field: str
    words: str
    reason: str
    kinds: tuple[str, ...] = ()
    base: str = ""

    def covers(self, alarm: Alarm) -> bool:
        """Return whether this explains an alarm."""
        path = dotted(alarm.transition.path)
        below = path == self.field or path.startswith((f"{self.field}.", f"{self.field}["))
        return (
            self.oracle == alarm.oracle and below and self.words in alarm.message and (not self.kinds or alarm.kind in self.kinds) and self.base in alarm.base
        )


EXPLAINED: Final[tuple[Explained, ...]] = (
    Explained(
        "consistency", "storage", "shows in no object",
        "`storage` is of the volume that is made when `output` is absent, and says so; it has a default, so no rule can tell whether a user set it",
        base="by reference",
    ),
)  # fmt: skip


def unexplained(alarms: Iterable[Alarm], explained: tuple[Explained, ...] = EXPLAINED) -> list[Alarm]:
    """Return the alarms that nothing explains."""
    return [alarm for alarm in alarms if not any(each.covers(alarm) for each in explained)]


def in_vain(alarms: Iterable[Alarm], explained: tuple[Explained, ...] = EXPLAINED) -> list[Explained]:
    """Return the explanations that explain nothing."""
    alarms = list(alarms)
    return [each for each in explained if not any(map(each.covers, alarms))]
