"""What NetworkPolicies let through, as a function: https://kubernetes.io/docs/concepts/services-networking/network-policies/."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """One side of a connection: a Pod of a namespace, or an address outside of the cluster."""

    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.244.0.9"


def allowed(policies: Iterable[Rule], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Return whether `source` may connect to `target`: both sides' policies must let it through, and a side that none selects is open."""
    policies = list(policies)
    return _side(policies, source, target, port, protocol, "Egress") and _side(policies, target, source, port, protocol, "Ingress")


def _side(policies: list[Rule], selected: Peer, other: Peer, port: int, protocol: str, direction: str) -> bool:
    if selected.namespace is None:
        return True
    mine = [
        each["spec"]
        for each in policies
        if each["metadata"]["namespace"] == selected.namespace
        and direction in each["spec"]["policyTypes"]
        and _matches(each["spec"]["podSelector"], selected.labels)
    ]
    if not mine:
        return True
    return any(_rule(rule, selected, other, port, protocol, direction) for spec in mine for rule in spec.get(direction.lower(), []))


def _rule(rule: Rule, selected: Peer, other: Peer, port: int, protocol: str, direction: str) -> bool:
    ports = rule.get("ports")
    if ports and not any((each["port"], each["protocol"]) == (port, protocol) for each in ports):
        return False
    peers = rule.get("to" if direction == "Egress" else "from")
    return not peers or any(_peer(each, selected, other) for each in peers)


def _peer(peer: Rule, selected: Peer, other: Peer) -> bool:
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], ipaddress.ip_address(other.address)
        return address in ipaddress.ip_network(block["cidr"]) and not any(address in ipaddress.ip_network(each) for each in block.get("except", []))
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        if not _matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != selected.namespace:
        return False
    return _matches(peer.get("podSelector", {}), other.labels)


def _matches(selector: Rule, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", []):
        if each["operator"] != "In":
            raise NotImplementedError(each["operator"])
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True
