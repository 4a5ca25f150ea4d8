"""A server of its own, and an operator that reaches it through a proxy."""

from collections.abc import Iterator

import pytest

from support.api_server import SETTINGS, ApiServer, Operator, wait_for
from support.conductor import MADE, Admin
from support.fault_proxy import FaultProxy

WATCHES = len(MADE) + 1
"""The least number of watches of an operator that sees everything: of what it makes or writes to, and of Pods."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server for each file: here the operator is killed, its requests are counted, and hundreds of namespaces are left behind."""
    with ApiServer.running(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(server: ApiServer) -> Iterator[FaultProxy]:
    """What stands between the operator and the server."""
    made = FaultProxy(server.url)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def running(server: ApiServer, proxy: FaultProxy) -> Iterator[Operator]:
    """The operator behind the proxy."""
    made = Operator(server, SETTINGS, url=proxy.url)
    yield made
    made.stop()


@pytest.fixture
def operator(running: Operator, proxy: FaultProxy) -> Iterator[Operator]:
    """The operator behind the proxy, ready, all its watches open, and without faults before and after the test."""
    if running.process is None:
        running.start()
    wait_for("everything is watched", lambda: proxy.watches() >= WATCHES, timeout=60)
    yield running
    proxy.faults.clear()
    proxy.event_faults.clear()
    proxy.stale = {}


@pytest.fixture
def admin(server: ApiServer) -> Iterator[Admin]:
    """A connection of the test itself."""
    made = Admin(server.port)
    yield made
    made.close()
