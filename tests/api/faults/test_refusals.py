"""What the cluster refuses or takes away: the user reads why in a condition, tries are bounded, and it goes on by itself when the reason is gone."""

import math
import time

import pytest

from support.api_server import OPERATOR, ROOT, TOKENS, wait_for
from support.conductor import Conductor
from support.end_state import difference, end_states, operations
from support.faults import Answer, EventFault, Times
from support.samples import API, HUB, ROWS, SAMPLES, create, resource, unfinished

BACKGROUND = {"propagationPolicy": "Background"}
MERGE = "application/merge-patch+json"


def summary(admin, namespace, plural):
    """Return the condition that sums a resource up."""
    body = admin.send("GET", f"/apis/{API}/namespaces/{namespace}/{plural}/bot")[1]
    return next((each for each in body.get("status", {}).get("conditions", []) if each["type"] in ("Succeeded", "Ready")), {})


def quota(admin, namespace, what):
    """Allow none of a resource; nobody but us computes what is used."""
    path, hard = f"/api/v1/namespaces/{namespace}/resourcequotas", {"hard": {what: "0"}}
    admin.must("POST", path, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": hard})
    admin.must("PATCH", f"{path}/none/status", {"status": {**hard, "used": {what: "0"}}}, MERGE)
    return f"{path}/none"


REFUSED = {
    "claims": ("ftj", "finetunejobs", "persistentvolumeclaims", "persistentvolumeclaims", "create", "PersistentVolumeClaim `bot-ftj`"),
    "jobs": ("ftj", "finetunejobs", "count/jobs.batch", "jobs", "create", "Job `bot-prepare`"),
    "services": ("isvc", "inferenceservices", "count/services", "services", "apply", "Service `bot`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_exceeded_quota_is_told_and_overcome(server, proxy, operator, admin, case):
    sample, plural, what, resource_, verb, name = REFUSED[case]
    namespace = f"quota-{case}"
    create(admin, namespace)
    path = quota(admin, namespace, what)
    probe = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"generateName": "probe-"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}},
    }
    if case == "claims":
        wait_for("the quota holds", lambda: admin.send("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims?dryRun=All", probe)[0] == 403)
    time.sleep(1)  # the admission plugin learns of a quota by a watch of its own
    began = time.monotonic()
    admin.must("POST", f"/apis/{API}/namespaces/{namespace}/{plural}", SAMPLES[sample][0])
    found = wait_for("the condition", lambda: (seen := summary(admin, namespace, plural)).get("reason") == "QuotaExceeded" and seen, timeout=30)
    assert found["status"] == ("False" if sample == "isvc" else "Unknown")
    assert f"refuses the {name}" in found["message"]
    assert "exceeded quota: none" in found["message"]
    assert f"limited: {what}=0" in found["message"]

    def told():
        events = admin.items(f"/api/v1/namespaces/{namespace}/events")
        return [each for each in events if (each["reason"], each["type"]) == ("QuotaExceeded", "Warning")]

    wait_for("the event", lambda: len(told()) == 1)
    time.sleep(4)
    check_tries(proxy, namespace, resource_, verb, time.monotonic() - began)
    assert len(told()) == 1, "it is told once, however often it is tried"
    statuses = proxy.requests(namespace, "status")
    assert len(statuses) <= 4
    admin.must("DELETE", path)
    finish(server, admin, {namespace: sample})


def check_tries(proxy, namespace, plural, verb, seconds):
    """Check that what is refused was not tried more often than the back-off allows, and a few times more for events that came meanwhile."""
    tries = [each for each in proxy.requests(namespace, verb) if each.request.resource == plural]
    assert 2 <= len(tries) <= math.log2(seconds / 0.5 + 1) + 1 + 4, f"{len(tries)} tries in {seconds:.0f} s"


def finish(server, admin, runs, timeout=90):
    """Play the cluster's part until the samples in these namespaces end."""
    with Conductor(server.port).playing():
        wait_for(f"{runs} end", lambda: unfinished(admin, runs) == [], timeout, every=0.3)


def test_a_policy_that_denies_is_told_and_overcome(server, proxy, operator, admin):
    create(admin, "denied")
    policies, bindings = (f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic{end}" for end in ("ies", "ybindings"))
    rules = [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}]
    here = {"matchLabels": {"kubernetes.io/metadata.name": "denied"}}
    sentence = "Jobs here need the label test-of-cost-centre"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "cost-centre"},
        "spec": {"matchConstraints": {"resourceRules": rules, "namespaceSelector": here}, "validations": [{"expression": "false", "message": sentence}]},
    }  # fmt: skip
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "cost-centre"},
        "spec": {"policyName": "cost-centre", "validationActions": ["Deny"]},
    }  # fmt: skip
    admin.must("POST", policies, policy)
    admin.must("POST", bindings, binding)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }
    wait_for("the policy holds", lambda: admin.send("POST", "/apis/batch/v1/namespaces/denied/jobs?dryRun=All", job)[0] == 422)
    began = time.monotonic()
    admin.must("POST", f"/apis/{API}/namespaces/denied/modelmerges", SAMPLES["merge"][0])
    found = wait_for("the condition", lambda: (seen := summary(admin, "denied", "modelmerges")).get("reason") == "AdmissionDenied" and seen, timeout=30)
    assert sentence in found["message"]
    time.sleep(4)
    check_tries(proxy, "denied", "jobs", "create", time.monotonic() - began)
    admin.must("DELETE", f"{bindings}/cost-centre")
    admin.must("DELETE", f"{policies}/cost-centre")
    finish(server, admin, {"denied": "merge"})


def test_a_namespace_that_is_terminating_and_made_again(server, proxy, operator, admin):
    create(admin, "ending", resource("FineTuneJob", model=HUB, dataset=ROWS, suspend=True))
    ours = f"/apis/{API}/namespaces/ending/finetunejobs/bot"
    wait_for("it is suspended", lambda: summary(admin, "ending", "finetunejobs").get("reason") == "Suspended")
    admin.must("DELETE", "/api/v1/namespaces/ending")
    began = time.monotonic()
    admin.must("PATCH", ours, {"spec": {"suspend": False}}, MERGE)
    found = wait_for("the condition", lambda: (seen := summary(admin, "ending", "finetunejobs")).get("reason") == "NamespaceTerminating" and seen)
    assert "because it is being terminated" in found["message"]
    time.sleep(3)
    check_tries(proxy, "ending", "persistentvolumeclaims", "create", time.monotonic() - began)
    # The namespace controller, which is not here, deletes what is in it and then lets it go.
    admin.must("DELETE", ours)
    admin.must("DELETE", "/api/v1/namespaces/ending/configmaps/rows")
    body = admin.must("GET", "/api/v1/namespaces/ending")
    admin.must("PUT", "/api/v1/namespaces/ending/finalize", {**body, "spec": {"finalizers": []}})
    wait_for("it is gone", lambda: admin.send("GET", "/api/v1/namespaces/ending")[0] == 404)
    create(admin, "ending", *SAMPLES["ftj"])
    finish(server, admin, {"ending": "ftj"})


def test_a_kind_that_is_removed_and_comes_back(server, proxy, operator, admin):
    """Its resources go with it; the others go on meanwhile, and it is served again when it is back."""
    process = operator.process.pid
    create(admin, "uninstalled", SAMPLES["eval"][0])
    wait_for("its Job", lambda: admin.send("GET", "/apis/batch/v1/namespaces/uninstalled/jobs/bot-evaluate")[0] == 200)
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    admin.must("DELETE", f"{crds}/evaluations.tunewright.dev")
    wait_for("the kind is gone", lambda: admin.send("GET", f"{crds}/evaluations.tunewright.dev")[0] == 404, timeout=60)
    create(admin, "meanwhile", *SAMPLES["ftj"])

    # The stand-in asks for all four kinds; one Job is enough to see that the others go on.
    wait_for("another kind goes on", lambda: admin.send("GET", "/apis/batch/v1/namespaces/meanwhile/jobs/bot-prepare")[0] == 200, timeout=60)
    applied = server.kubectl("apply", "--server-side", "-f", ROOT / "crds/evaluations.yaml")
    assert applied.returncode == 0, applied.stderr
    wait_for("it is back", lambda: admin.send("GET", f"/apis/{API}/evaluations")[0] == 200, timeout=60)
    create(admin, "reinstalled", *SAMPLES["eval"])
    finish(server, admin, {"meanwhile": "ftj", "reinstalled": "eval"})
    assert operator.process.pid == process
    assert operator.process.poll() is None


def test_a_token_that_is_rotated(server, proxy, operator, admin, record_property):
    """The old token is refused everywhere, and for a while there is no new one; it goes on with the new one when that comes, in the same process."""
    process = operator.process.pid
    old = TOKENS[OPERATOR]
    refused = Times(lambda request: request.token == old, Answer(401, "Unauthorized", "Unauthorized"), None)
    create(admin, "rotated", *SAMPLES["merge"])
    wait_for("the Job", lambda: admin.send("GET", "/apis/batch/v1/namespaces/rotated/jobs/bot-merge")[0] == 200)
    try:
        proxy.faults.append(refused)
        proxy.end_watches(lambda request: True, None)
        create(admin, "rotated-late", *SAMPLES["merge"])
        time.sleep(5)
        tries = len(refused.hits)
        assert tries
        server.kubeconfig(OPERATOR, proxy.url, rotated=True)
        finish(server, admin, {"rotated": "merge", "rotated-late": "merge"})
        assert operator.process.pid == process
        assert operator.process.poll() is None
        # At every try Kopf asks what is served, and each of its ten watches may have asked before.
        assert tries < 100, "no storm of requests with a token that is known to be refused"
        record_property("requests with a refused token in 5 s", tries)
        print(f"{tries} requests with the old token in the 5 s without a new one")
    finally:
        proxy.faults.remove(refused)
        server.kubeconfig(OPERATOR, proxy.url)


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "deletion-missed"])
def test_a_resource_deleted_and_made_again_at_once(server, proxy, operator, admin, seen):
    """The objects of the old one hold the names until the garbage collector has them; the new one says so, and then makes its own."""
    namespace = f"again-{'seen' if seen else 'missed'}"
    create(admin, namespace, *SAMPLES["ftj"])
    jobs, claims = f"/apis/batch/v1/namespaces/{namespace}/jobs/bot-prepare", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/bot-ftj"
    ours = f"/apis/{API}/namespaces/{namespace}/finetunejobs"
    wait_for("the Job", lambda: admin.send("GET", jobs)[0] == 200)
    wait_for("the status", lambda: "no Pod yet" in summary(admin, namespace, "finetunejobs").get("message", ""))
    missed = EventFault(lambda event: (event.type, event.resource, event.namespace) == ("DELETED", "finetunejobs", namespace), 0, "drop", seconds=30)
    if not seen:
        proxy.event_faults.append(missed)
    admin.must("DELETE", f"{ours}/bot", BACKGROUND)
    admin.must("POST", ours, SAMPLES["ftj"][0])
    found = wait_for("the conflict", lambda: (told := summary(admin, namespace, "finetunejobs")).get("reason") == "NameConflict" and told)
    assert "exists that is not this resource's" in found["message"]
    admin.must("DELETE", jobs, BACKGROUND)
    admin.must("PATCH", claims, {"metadata": {"finalizers": None}}, MERGE)
    admin.must("DELETE", claims)
    finish(server, admin, {namespace: "ftj"})
    counts = operations(server.audited())[namespace]
    assert counts == {"create jobs/bot-prepare": 2, "create persistentvolumeclaims/bot-ftj": 2, "create jobs/bot-train": 1}
    assert seen or missed.dropped, "the deletion was never told"
    create(admin, f"{namespace}-alike", *SAMPLES["ftj"])
    finish(server, admin, {f"{namespace}-alike": "ftj"})
    states = end_states(admin)
    assert difference(states[f"{namespace}-alike"], states[namespace]) == []
