"""sweep: what is gone without a word is found, and nothing else is taken for gone."""

import pytest

from tunewright.api.common import Kind
from tunewright.cluster.cache import Cache
from tunewright.cluster.sweep import sweep
from tunewright.cluster.transport import ApiError

FTJ = (Kind.FINE_TUNE_JOB, "team", "bot")
MERGE = (Kind.MODEL_MERGE, "team", "bot")


def seen(uid, kind, **labels):
    return {"kind": kind, "metadata": {"uid": uid, "name": uid, "namespace": "team", "resourceVersion": "1", "labels": labels}}


class Server:
    """What a list of each kind has, by namespace (None: all of them)."""

    def __init__(self, **uids):
        self.uids_of, self.asked = uids, []

    async def uids(self, kind, namespace):
        self.asked.append((kind, namespace))
        if kind not in self.uids_of:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return set(self.uids_of[kind])


@pytest.fixture
def cache():
    job = seen("job-1", "Job", **{"tunewright.dev/kind": "FineTuneJob", "tunewright.dev/name": "bot"})
    return Cache({FTJ: [seen("ftj-1", "FineTuneJob")], MERGE: [seen("merge-1", "ModelMerge")]}, {"ftj-1": [job]}, {FTJ: [MERGE]})


async def test_nothing_is_gone(cache):
    server = Server(FineTuneJob=["ftj-1"], ModelMerge=["merge-1"], Job=["job-1", "another"])
    assert await sweep(cache, server, ()) == set()
    assert cache.resource(FTJ) is not None


async def test_a_job_that_is_gone_is_news_of_its_resource_and_of_those_that_wait_for_it(cache):
    assert await sweep(cache, Server(FineTuneJob=["ftj-1"], ModelMerge=["merge-1"], Job=[]), ()) == {FTJ, MERGE}
    assert cache.children("ftj-1") == ()
    assert cache.resource(FTJ) is not None


async def test_a_resource_that_is_gone_is_not_seen_any_more(cache):
    assert await sweep(cache, Server(FineTuneJob=["made-again"], ModelMerge=["merge-1"], Job=["job-1"]), ()) == {FTJ, MERGE}
    assert cache.resource(FTJ) is None


async def test_a_kind_that_cannot_be_listed_is_no_proof_of_anything(cache):
    assert await sweep(cache, Server(ModelMerge=["merge-1"], Job=["job-1"]), ()) == set()
    assert cache.resource(FTJ) is not None


async def test_in_a_namespaced_installation_only_its_namespaces_are_asked(cache):
    server = Server(FineTuneJob=["ftj-1"], ModelMerge=["merge-1"], Job=["job-1"])
    await sweep(cache, server, ("a", "b"))
    assert {namespace for _, namespace in server.asked} == {"a", "b"}
