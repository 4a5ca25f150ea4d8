from collections.abc import Iterator

import pytest

from support.cluster import Cluster, restricted_namespace


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    name = "e2e-" + request.module.__name__.rsplit(".", 1)[-1].removeprefix("test_").replace("_", "-")
    with restricted_namespace(name) as made:
        yield made
