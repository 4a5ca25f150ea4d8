"""One real kube-apiserver and one operator for all API tests; each test has a namespace of its own."""

import itertools
import re
from collections.abc import Iterator

import pytest

from support.api_server import ROOT, ApiServer, Operator, wait_for
from support.stand_in import Cluster

_NUMBERS = itertools.count(1)
SETTINGS = {"trainer_image": "registry.invalid/trainer:1", "server_image": "registry.invalid/server:1", "server_device": "CPU"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with our CRDs."""
    made = ApiServer(tmp_path_factory.mktemp("api"))
    try:
        made.start()
        applied = made.kubectl("apply", "--server-side", "-f", ROOT / "crds")
        assert applied.returncode == 0, applied.stderr
        wait_for("the CRDs are served", lambda: made.kubectl("wait", "--for=condition=Established", "crd", "--all").returncode == 0, every=0.5)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def operator(server: ApiServer) -> Iterator[Operator]:
    """A running operator."""
    made = Operator(server, SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def cluster(server: ApiServer, request: pytest.FixtureRequest) -> Cluster:
    """A namespace for one test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    return Cluster(server, f"t{next(_NUMBERS)}-{name[:50].strip('-')}")
