"""The comparison of rights used with rights granted sees what is too much, too little, and too wide."""

import pytest

from support.helm import rendered, service_account_name
from support.rbac import EVERYWHERE, denied, granted, granted_but_not_used, used, used_but_not_granted

OPERATOR = service_account_name("tunewright")


def asked(verb, resource, namespace="", code=200, **more):
    target = {"resource": resource, "apiGroup": "batch", **({"namespace": namespace} if namespace else {})}
    return {"verb": verb, "objectRef": target, "responseStatus": {"code": code}, **more}


def grant(verb, where=EVERYWHERE):
    return (verb, "batch", "jobs", where)


def test_the_bindings_of_the_chart_say_where():
    everywhere = granted(rendered(), OPERATOR)
    assert ("create", "batch", "jobs", EVERYWHERE) in everywhere
    assert {each[3] for each in everywhere} == {EVERYWHERE}
    two = granted(rendered(watchNamespaces=["a", "b"]), OPERATOR)
    assert {each[3] for each in two} == {"a", "b"}
    assert granted(rendered(), service_account_name("another")) == set()


@pytest.mark.parametrize(
    ("request_", "grants", "too_much", "too_little"),
    [
        (asked("list", "jobs"), {grant("list")}, set(), set()),
        (asked("list", "jobs", "a"), {grant("list")}, {grant("list")}, set()),
        (asked("list", "jobs", "a"), {grant("list", "a"), grant("list", "b")}, {grant("list", "b")}, set()),
        (asked("list", "jobs"), {grant("list", "a")}, {grant("list", "a")}, {grant("list", "")}),
        (asked("create", "jobs", "a"), {grant("create")}, set(), set()),
        (asked("create", "jobs", "b"), {grant("create", "a")}, {grant("create", "a")}, {grant("create", "b")}),
        (asked("get", "jobs", "a"), {grant("get"), grant("delete")}, {grant("delete")}, set()),
        (asked("patch", "jobs", "a", 201), {grant("patch")}, set(), {grant("create", "a")}),
        (asked("get", "jobs", "a", 403), {grant("get")}, {grant("get")}, set()),
    ],
)
def test_both_differences(request_, grants, too_much, too_little):
    seen = used([request_])
    assert granted_but_not_used(grants, seen) == too_much
    assert used_but_not_granted(seen, grants) == too_little


def test_only_the_authorizer_denies():
    quota = asked("create", "jobs", "a", 403, annotations={"authorization.k8s.io/decision": "allow"})
    refused = asked("delete", "jobs", "a", 403, annotations={"authorization.k8s.io/decision": "forbid"})
    assert denied([quota, refused]) == {grant("delete", "a")}
