"""One real kube-apiserver and one operator for all API tests; each test has a namespace of its own."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api_server import SETTINGS, ApiServer, Operator
from support.session import is_whole, remember_deselected, run_last
from support.stand_in import Cluster

_NUMBERS = itertools.count(1)
LAST = Path(__file__).with_name("test_permissions.py")
"""Looks back at what all other tests made the operator do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    run_last(items, LAST)


pytest_deselected = remember_deselected


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with our CRDs, and the roles that the chart gives the operator."""
    with ApiServer.running(tmp_path_factory.mktemp("api")) as made:
        yield made


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
    return is_whole(request.session, LAST.parent)
