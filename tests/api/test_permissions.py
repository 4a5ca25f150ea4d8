"""RBAC used equals RBAC granted: the operator runs with the chart's own roles, and the API server's audit log says what it used of them."""

import pytest

from support.api_server import NAMESPACED, OPERATOR, Operator, wait_for
from support.helm import NAMESPACE, of_kind, rendered
from support.rbac import denied, granted, granted_but_not_used, used, used_but_not_granted
from support.worlds import result

ROWS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}}


def tune(name="bot", **spec):
    least = {"model": {"uri": "hf://org/model@main"}, "dataset": {"uri": "configmap://rows/train.jsonl"}, "resources": {"gpus": 0}}
    return {"apiVersion": "tunewright.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": name}, "spec": {**least, **spec}}


def test_a_namespaced_installation_needs_no_cluster_wide_permission(server, cluster, operator):
    """The roles of a release with `watchNamespaces` are enough for a whole job there, and nothing is asked for anywhere else."""
    objects = rendered("namespaced", watchNamespaces=[cluster.namespace])
    server.apply(*of_kind(objects, "ServiceAccount", "Role", "RoleBinding"))
    operator.stop()
    alone = Operator(server, operator.settings, user=NAMESPACED, namespaces=(cluster.namespace,))
    try:
        alone.start()
        cluster.apply(ROWS, tune())
        cluster.finish_job("bot-prepare", result("prepare"))
        cluster.finish_job("bot-train", result("train"))
        cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "True", "Succeeded")
    finally:
        alone.stop()
        operator.start()
    asked = list(server.audited(NAMESPACED))
    assert {each["objectRef"].get("namespace") for each in asked if "objectRef" in each} == {cluster.namespace}
    assert denied(asked) == set()
    assert used_but_not_granted(used(asked), granted(objects, NAMESPACED)) == set()


def test_a_tenant_of_another_namespace_is_not_served(server, cluster, operator):
    """A ConfigMap of the same name elsewhere is not found: every reference stays in its namespace."""
    server.apply({**ROWS, "metadata": {"name": "rows", "namespace": NAMESPACE}})
    cluster.apply(tune())
    found = cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "Unknown", "ConfigMapNotFound")
    assert "`rows`" in found["message"]
    assert cluster.list("Job") == []


@pytest.mark.parametrize(
    ("kind", "stage", "spec"),
    [
        ("ModelMerge", "merge", {"adapter": {"uri": "hf://org/adapter@main"}, "base": {"uri": "hf://org/model@main"}}),
        ("Evaluation", "evaluate", {"model": {"uri": "hf://org/model@main"}, "dataset": {"uri": "configmap://rows/train.jsonl"}, "resources": {"gpus": 0}}),
    ],
)
def test_the_time_to_live_deletes_every_kind_that_ends(cluster, operator, kind, stage, spec):
    body = {"apiVersion": "tunewright.dev/v1alpha1", "kind": kind, "metadata": {"name": "bot"}, "spec": {**spec, "ttlSecondsAfterFinished": 0}}
    cluster.apply(ROWS, body)
    cluster.finish_job(f"bot-{stage}", result(stage))
    wait_for(f"the {kind} is deleted", lambda: cluster.get(kind, "bot") is None)


def test_nothing_was_denied(server, operator):
    assert denied(server.audited()) == set()


def test_nothing_is_used_that_is_not_granted(server, operator):
    seen = used(server.audited())
    assert ("create", "batch", "jobs") in {each[:3] for each in seen}
    assert used_but_not_granted(seen, granted(rendered(), OPERATOR)) == set()


def test_nothing_is_granted_that_is_not_used(whole_session, server, operator):
    if not whole_session:
        pytest.skip("only some of the API tests ran")
    assert granted_but_not_used(granted(rendered(), OPERATOR), used(server.audited())) == set()
