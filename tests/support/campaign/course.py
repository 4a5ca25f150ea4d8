"""The state of a campaign: resources, and lanes on their way."""

import json
from dataclasses import dataclass, field

from support.campaign.plan import Lane
from support.campaign.transitions import SELF, Body, Transition


@dataclass
class Subject:
    """A resource of a campaign. `stored` is its spec as the server keeps it, `shots` are its snapshots from its first to that of its end."""

    kind: str
    namespace: str
    name: str
    spec: Body
    transition: Transition
    stored: Body = field(default_factory=dict)
    generation: int = 0
    seen: bool = False
    refused: bool = False
    """Whether an object of it was refused: then its status cannot come to the newest generation."""
    shots: list[Body] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name


@dataclass
class Course:
    """A lane on its way: its resource, the twins of this round, the one whose spec the resource was edited to, and what all are compared with."""

    lane: Lane
    subject: Subject
    twins: list[Subject] = field(default_factory=list)
    edited: Subject | None = None
    reference: Subject | None = None
    before: Body = field(default_factory=dict)
    """The snapshot of the resource before the edit."""
    previous: Body = field(default_factory=dict)
    """The spec of the resource before the edit."""
    made: int = 0

    def twin(self, transition: Transition, spec: Body) -> Subject:
        """Return a resource yet to be made with the change; its name sorts as that of the other one, since volumes are sorted by claim."""
        self.made += 1
        name = transition.value if transition.path[:1] == ("metadata",) else f"bot{self.made}"
        changed = spec if transition.path[:1] in ((), ("metadata",)) else transition.applied(spec)
        return Subject(self.lane.kind, self.lane.namespace, name, changed, transition)

    def about(self, text: str) -> Subject:
        """Return whom a text is about: a twin that it names, or the resource, by the edit that was made."""
        return next((twin for twin in self.twins if names(text, twin.name)), self.subject)


def names(text: str, name: str) -> bool:
    """Return whether a refusal or a path is about the resource `name`, or about an object of it."""
    return any(f"{before}{name}{after}" in text for before, after in (('"', '"'), ('"', "-"), ("/", "/"), ("/", "-"))) or text.endswith(f"/{name}")


def named(body: Body, name: str) -> Body:
    """Return a body in which the resource itself is called `name`."""
    return dict(json.loads(json.dumps(body).replace(SELF, name)))
