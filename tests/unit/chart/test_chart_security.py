"""The chart as real helm renders it: restricted Pods, no verb on secrets, images by digest."""

import json
import re

import pytest

from support.helm import CHART, NAMESPACE, RELEASE, helm_template, of_kind, rendered
from support.pod_security import containers, violations

EVERYTHING = {
    "images": {"pullSecrets": ["pull"]},
    "watchNamespaces": ["team-a", "team-b"],
    "networkPolicy": {"workloads": {"namespaces": ["team-a", "team-b"]}},
    "operator": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
}
VALUES = pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
DIGEST = "sha256:" + "0123456789abcdef" * 4


def pods(objects):
    return [each["spec"]["template"]["spec"] for each in of_kind(objects, "Deployment", "Job", "DaemonSet", "StatefulSet")]


def rules(objects):
    return [rule for each in of_kind(objects, "Role", "ClusterRole") for rule in each["rules"]]


@VALUES
def test_every_pod_satisfies_restricted(values):
    found = pods(rendered(**values))
    assert found
    for pod in found:
        assert violations(pod) == []
        assert pod["enableServiceLinks"] is False
        assert all(container["securityContext"]["readOnlyRootFilesystem"] is True for _, container in containers(pod))
        assert all("memory" in container["resources"]["limits"] for _, container in containers(pod))


@VALUES
def test_no_verb_on_secrets_and_nothing_by_wildcard(values):
    found = rules(rendered(**values))
    assert len(found) > 5
    for rule in found:
        assert "secrets" not in {each.split("/")[0] for each in rule["resources"]}
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert not {"pods/exec", "pods/attach", "pods/portforward", "pods/log", "nodes", "serviceaccounts", "serviceaccounts/token"} & set(rule["resources"])
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_specs_of_our_kinds_are_never_written():
    operator = [rule for each in of_kind(rendered(), "ClusterRole") if each["metadata"]["name"] == RELEASE for rule in each["rules"]]
    ours = [rule for rule in operator if "tunewright.dev" in rule["apiGroups"]]
    assert {verb for rule in ours for verb in rule["verbs"] if not any("/" in each for each in rule["resources"])} == {"list", "watch", "delete"}


def test_with_names_of_namespaces_nothing_is_cluster_wide():
    objects = rendered(**EVERYTHING)
    assert of_kind(objects, "ClusterRoleBinding") == []
    assert sorted(each["metadata"]["namespace"] for each in of_kind(objects, "RoleBinding")) == ["team-a", "team-b"]
    for each in of_kind(objects, "RoleBinding"):
        assert each["subjects"] == [{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}]
    # What is left are the roles for people, which bind nobody, and the CRDs.
    assert {each["metadata"]["name"] for each in of_kind(objects, "ClusterRole")} == {f"{RELEASE}-edit", f"{RELEASE}-view"}


def test_only_the_operator_mounts_a_token():
    objects = rendered(**EVERYTHING)
    assert [each["automountServiceAccountToken"] for each in of_kind(objects, "ServiceAccount")] == [False]
    assert [pod["automountServiceAccountToken"] for pod in pods(objects)] == [True]


@pytest.mark.parametrize("name", ["operator", "trainer", "server"])
@pytest.mark.parametrize(
    "image",
    [
        f"ghcr.io/tunewright/operator@{DIGEST}", f"ghcr.io/tunewright/operator:0.1.0@{DIGEST}", f"localhost:5000/a/b_c@{DIGEST}", "vllm/vllm-openai:v0.32.0",
        "localhost/tunewright/trainer:0a1b2c", "registry.example:443/Team__x/y:A_b-c.d", "busybox",
    ],
)  # fmt: skip
def test_images_by_digest(name, image):
    objects = rendered(images={name: image})
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = json.loads(next(each["value"] for each in container["env"] if each["name"] == "TUNEWRIGHT_SETTINGS"))
    assert {"operator": container["image"], "trainer": settings["trainer_image"], "server": settings["server_image"]}[name] == image


@pytest.mark.parametrize(
    "image", ["", "a b", "x@sha256:1234", "x@sha256:" + "g" * 64, f"x@md5:{'0' * 32}", f"x@{DIGEST}@{DIGEST}", f"x@{DIGEST.upper()}", 'x"; rm']
)
def test_what_is_no_image_is_refused(image):
    done = helm_template(images={"operator": image})
    assert done.returncode != 0
    assert "images" in done.stderr


def test_no_secret_is_among_the_values():
    """Values are kept in the release, which more people may read than secrets: the chart takes names of Secrets only."""
    text = (CHART / "values.schema.json").read_text() + (CHART / "values.yaml").read_text()
    assert not re.search(r"password|token\b|apiKey|accessKey", text, re.IGNORECASE)
