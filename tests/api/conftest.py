"""One real kube-apiserver and one operator for all API tests; each test has a namespace of its own."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api_server import ApiServer, Operator
from support.stand_in import Cluster

PARTIAL = pytest.StashKey[bool]()
_NUMBERS = itertools.count(1)
SETTINGS = {"trainer_image": "registry.invalid/trainer:1", "server_image": "registry.invalid/server:1", "server_device": "CPU"}
LAST = "test_permissions.py"
"""Looks back at what all other tests made the operator do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the look back behind the other API tests, whatever the order of the files."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    in_order = sorted((items[place] for place in places), key=lambda item: item.path.name == LAST)
    for place, item in zip(places, in_order, strict=True):
        items[place] = item


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember that not everything runs: what is granted may then not be used."""
    for item in items:
        item.session.stash[PARTIAL] = True


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with our CRDs, and the roles that the chart gives the operator."""
    made = ApiServer(tmp_path_factory.mktemp("api"))
    try:
        made.start()
        made.install_chart()
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


@pytest.fixture(scope="session")
def whole_session(request: pytest.FixtureRequest) -> bool:
    """Whether every API test runs in this session."""
    here = Path(__file__).parent
    return not request.session.stash.get(PARTIAL, False) and set(here.glob("test_*.py")) <= {item.path for item in request.session.items}
