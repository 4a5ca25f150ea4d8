"""RBAC used equals RBAC granted, over the whole end-to-end run: the API server's audit log against the roles bound in the cluster. Runs last."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.cluster import Cluster, audited
from support.helm import rendered, service_account_name
from support.rbac import Permission, denied, granted, granted_but_not_used, used, used_but_not_granted

pytestmark = pytest.mark.e2e

OPERATOR = service_account_name("tunewright")
KINDS = "clusterroles,roles,clusterrolebindings,rolebindings"


@pytest.fixture(scope="module")
def requests(session_start: str) -> list[dict[str, Any]]:
    """What the operator asked since this session began: the cluster may be older."""
    found = [each for each in audited(OPERATOR) if each["requestReceivedTimestamp"] >= session_start]
    assert found, "the operator asked nothing"
    return found


@pytest.fixture(scope="module")
def grants(cluster: Cluster) -> set[Permission]:
    """What the cluster lets the operator do, whoever granted it."""
    return granted(json.loads(cluster.kubectl("get", KINDS, "--all-namespaces", "--output", "json", system=True))["items"], OPERATOR)


def test_the_cluster_grants_what_the_chart_says(grants: set[Permission]) -> None:
    assert grants == granted(rendered(), OPERATOR)


def test_nothing_was_denied(requests: list[dict[str, Any]]) -> None:
    assert denied(requests) == set()


def test_nothing_is_used_that_is_not_granted(requests: list[dict[str, Any]], grants: set[Permission], record_property: Callable[[str, object], None]) -> None:
    seen = used(requests)
    record_property("requests", len(requests))
    record_property("used", len({each[:3] for each in seen}))
    assert used_but_not_granted(seen, grants) == set()


def test_nothing_is_granted_that_is_not_used(
    whole_session: bool, requests: list[dict[str, Any]], grants: set[Permission], record_property: Callable[[str, object], None]
) -> None:
    if not whole_session:
        pytest.skip("only some of the end-to-end tests ran")
    record_property("granted", len(grants))
    assert granted_but_not_used(grants, used(requests)) == set()
