from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.cluster import Cluster, restricted_namespace
from support.session import is_whole, remember_deselected, run_last

LAST = Path(__file__).with_name("test_permissions.py")
"""Looks back at what all other tests made the operator do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    run_last(items, LAST)


pytest_deselected = remember_deselected


@pytest.fixture(scope="session", autouse=True)
def session_start() -> str:
    """When the first end-to-end test began, as an audit log writes it. Autouse: it must be the first to be asked for."""
    return datetime.now(UTC).isoformat()


@pytest.fixture(scope="session")
def whole_session(request: pytest.FixtureRequest) -> bool:
    """Whether every end-to-end test runs in this session."""
    return is_whole(request.session, LAST.parent)


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    name = "e2e-" + request.module.__name__.rsplit(".", 1)[-1].removeprefix("test_").replace("_", "-")
    with restricted_namespace(name) as made:
        yield made
