"""The chart's NetworkPolicies, asked who may connect to whom: the Pods are those that the operator makes."""

import pytest

from support.helm import NAMESPACE, helm_template, of_kind, rendered
from support.network_policies import Peer, allowed
from tunewright.build.serving import PORT
from tunewright.contract.run_spec import PROGRESS_PORT
from unit.build.test_objects import STAGES, workloads

PROBES = 8081
JOBS = STAGES[:4]
API_SERVER = Peer(address="203.0.113.7")
HUB = Peer(address="18.1.2.3")
MIRROR = Peer("mirror", {"app": "hub"}, "10.244.0.4")
DNS = Peer("kube-system", {"k8s-app": "kube-dns"})
STRANGER = Peer("other", {"app": "curl"})
NEIGHBOUR = Peer("team", {"app": "notebook"})
METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fe80::1")


def policies(**values):
    return of_kind(rendered(**values), "NetworkPolicy")


def in_team(**workload_values):
    return policies(networkPolicy={"workloads": {"namespaces": ["team"], **workload_values}})


def operator_pod():
    (deployment,) = of_kind(rendered(), "Deployment")
    return Peer(NAMESPACE, deployment["spec"]["template"]["metadata"]["labels"])


def stage_pod(stage, namespace="team"):
    return Peer(namespace, workloads()[stage]["spec"]["template"]["metadata"]["labels"])


every_stage = pytest.mark.parametrize("stage", STAGES)
every_job = pytest.mark.parametrize("stage", JOBS)


def test_the_operator_is_guarded_by_default_and_namespaces_of_users_are_not():
    found = policies()
    assert [each["metadata"]["namespace"] for each in found] == [NAMESPACE]
    assert policies(networkPolicy={"operator": {"enabled": False}}) == []


@pytest.mark.parametrize("port", [443, 6443, 8443, 16443])
def test_the_operator_reaches_the_api_server(port):
    assert allowed(policies(), operator_pod(), API_SERVER, port)
    assert not allowed(policies(networkPolicy={"operator": {"apiServerPorts": [9999]}}), operator_pod(), API_SERVER, port)
    assert allowed(policies(networkPolicy={"operator": {"apiServerPorts": [9999]}}), operator_pod(), API_SERVER, 9999)


def test_the_operator_reaches_names():
    assert allowed(policies(), operator_pod(), DNS, 53, "UDP")
    assert allowed(policies(), operator_pod(), DNS, 53, "TCP")


@every_job
def test_the_operator_reads_progress_in_every_namespace(stage):
    found = in_team()
    assert allowed(found, operator_pod(), stage_pod(stage), PROGRESS_PORT)
    assert allowed(found, operator_pod(), stage_pod(stage, "another"), PROGRESS_PORT)


def test_the_operator_reads_progress_only_where_it_works():
    found = policies(watchNamespaces=["team"])
    assert allowed(found, operator_pod(), stage_pod("train"), PROGRESS_PORT)
    assert not allowed(found, operator_pod(), stage_pod("train", "another"), PROGRESS_PORT)


@pytest.mark.parametrize("peer", [HUB, STRANGER, Peer("team", {"app": "database"})])
@pytest.mark.parametrize("port", [80, 5432, PROGRESS_PORT])
def test_the_operator_reaches_nothing_else(peer, port):
    assert not allowed(policies(), operator_pod(), peer, port)


def test_the_operator_is_reached_on_its_probe_port_only():
    found = policies()
    assert allowed(found, STRANGER, operator_pod(), PROBES)
    assert not any(allowed(found, STRANGER, operator_pod(), port) for port in (22, 80, 443, PROGRESS_PORT, PORT))
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    narrow = policies(networkPolicy={"operator": {"metricsFrom": monitoring}})
    assert allowed(narrow, Peer("monitoring"), operator_pod(), PROBES)
    assert not allowed(narrow, STRANGER, operator_pod(), PROBES)


@every_stage
def test_every_pod_of_ours_is_closed_but_for_what_is_allowed(stage):
    found = in_team()
    assert not any(allowed(found, peer, stage_pod(stage), port) for peer in (STRANGER, NEIGHBOUR, HUB) for port in (22, 80, PROGRESS_PORT, 9999))
    only_denied = [each for each in found if each["metadata"]["name"].endswith("-deny")]
    assert not allowed(only_denied, stage_pod(stage), HUB, 443)


@every_job
def test_nobody_but_the_operator_reads_progress(stage):
    found = in_team()
    assert not allowed(found, Peer(NAMESPACE, {"app": "other"}), stage_pod(stage), PROGRESS_PORT)
    assert not allowed(found, Peer("other", operator_pod().labels), stage_pod(stage), PROGRESS_PORT), "labels alone are easily copied"


def test_the_server_answers_clients_on_its_port_only():
    found = in_team()
    assert allowed(found, STRANGER, stage_pod("server"), PORT)
    assert not allowed(found, operator_pod(), stage_pod("server"), PROGRESS_PORT)
    narrow = in_team(clients=[{"podSelector": {"matchLabels": {"app": "notebook"}}}])
    assert allowed(narrow, NEIGHBOUR, stage_pod("server"), PORT)
    assert not allowed(narrow, STRANGER, stage_pod("server"), PORT)


@every_stage
def test_pods_of_ours_download(stage):
    found = in_team()
    assert allowed(found, stage_pod(stage), HUB, 443)
    assert allowed(found, stage_pod(stage), MIRROR, 9000)
    assert allowed(found, stage_pod(stage), DNS, 53, "UDP")
    narrow = in_team(downloadsTo=[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mirror"}}}])
    assert allowed(narrow, stage_pod(stage), MIRROR, 9000)
    assert not allowed(narrow, stage_pod(stage), HUB, 443)


@every_stage
@pytest.mark.parametrize("address", METADATA)
def test_pods_of_ours_never_reach_metadata(stage, address):
    assert not allowed(in_team(), stage_pod(stage), Peer(address=address), 80)


def test_pods_of_others_are_left_alone():
    found = in_team()
    assert allowed(found, STRANGER, NEIGHBOUR, 80)
    assert allowed(found, NEIGHBOUR, HUB, 443)


@pytest.mark.parametrize(
    "values",
    [
        {"operator": {"enabled": "yes"}}, {"operator": {"apiServerPorts": []}}, {"operator": {"apiServerPorts": [0]}}, {"operator": {"metricsFrom": [{}]}},
        {"workloads": {"namespaces": ["Team"]}}, {"workloads": {"clients": [{"hosts": ["x"]}]}}, {"egress": []},
    ],
)  # fmt: skip
def test_other_values_are_refused(values):
    done = helm_template(networkPolicy=values)
    assert done.returncode != 0
    assert "networkPolicy" in done.stderr
