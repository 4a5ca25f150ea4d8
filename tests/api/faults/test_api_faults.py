"""What an API server may answer, for each kind of request the operator makes: it converges, it tries a bounded number of times, and it waits when asked to."""

import time
from dataclasses import dataclass
from itertools import pairwise

import pytest

from support.api_server import wait_for
from support.conductor import Conductor
from support.end_state import difference, end_states, operations
from support.faults import Action, Answer, Cut, Delay, Fault, Hang, Times
from support.samples import API, SAMPLES, create, resource, unfinished

WITHIN_SECONDS = 100
"""All of them converge in this time: the longest fault is a request that is never answered, which is given up after 30 s."""
RETRY_AFTER = 3
FAULTS: dict[str, Action] = {
    "409": Answer(409, "Conflict", "the object has been modified"),
    "429": Answer(429, "TooManyRequests", "please try again later", {"Retry-After": str(RETRY_AFTER)}),
    "500": Answer(500),
    "503": Answer(503, "ServiceUnavailable"),
    "401": Answer(401, "Unauthorized", "Unauthorized"),
    "not-sent": Cut(),
    "answer-lost": Cut(sent=True),
    "slow": Delay(2),
    "silent": Hang(),
}
VERBS = {"create": "ftj", "status": "ftj", "get": "ftj", "list": "ftj", "event": "ftj", "apply": "isvc"}
"""Each kind of request of the operator, and a sample that needs it; `delete` and the watches have tests of their own."""
TIMES = 3
REQUESTS_A_PASS = 12
"""More than any pass of these samples needs."""


@dataclass
class Cell:
    """One fault of one kind of request, in a namespace of its own."""

    verb: str
    name: str
    namespace: str
    fault: Times

    @property
    def sample(self) -> str:
        return VERBS[self.verb]


def cell(verb: str, name: str) -> Cell:
    namespace = f"api-{verb}-{name}"
    times = 1 if isinstance(FAULTS[name], Hang) else TIMES

    def matches(request):
        return (request.namespace, request.verb) == (namespace, verb)

    return Cell(verb, name, namespace, Times(matches, FAULTS[name], times))


def test_every_fault_of_every_request_is_survived(server, proxy, operator, admin, record_property):
    started = time.monotonic()
    cells = [cell(verb, name) for verb in VERBS for name in FAULTS]
    unbroken = {f"api-unbroken-{sample}": sample for sample in set(VERBS.values())}
    proxy.faults.extend(each.fault for each in cells)
    with Conductor(server.port).playing():
        for namespace, sample in unbroken.items():
            create(admin, namespace, *SAMPLES[sample])
        for each in cells:
            create(admin, each.namespace, *SAMPLES[each.sample])
        runs = {**unbroken, **{each.namespace: each.sample for each in cells}}
        wait_for("all of them end", lambda: unfinished(admin, runs) == [], timeout=WITHIN_SECONDS, every=0.5)
        took = time.monotonic() - started
    states, counts, wrong = end_states(admin), operations(server.audited()), []
    for each in cells:
        like = f"api-unbroken-{each.sample}"
        wrong += [f"{each.namespace}: {line}" for line in difference(states[like], states[each.namespace])]
        if counts[each.namespace] != counts[like]:
            wrong.append(f"{each.namespace}: {dict(counts[each.namespace])} instead of {dict(counts[like])}")
        # Events are a courtesy and not tried again, and what was done need not be: there may be fewer of them than faults for them.
        if len(each.fault.hits) < (1 if each.verb == "event" or each.name in ("slow", "answer-lost") else each.fault.times):
            wrong.append(f"{each.namespace}: the fault came {len(each.fault.hits)} times only")
        sent, usual = len(proxy.requests(each.namespace)), len(proxy.requests(like))
        if sent > usual + each.fault.times * REQUESTS_A_PASS:
            wrong.append(f"{each.namespace}: {sent} requests instead of {usual}")
        if each.name == "429" and each.verb != "event":
            tries = [*each.fault.hits, *each.fault.passed[:1]]
            wrong += [f"{each.namespace}: tried again after {b - a:.1f} s" for a, b in pairwise(tries) if b - a < RETRY_AFTER - 0.2]
    assert wrong == []
    record_property("faults of requests", len(cells))
    record_property("seconds until all had converged", round(took))
    print(f"{len(cells)} faults of requests: all converged in {took:.0f} s")


def test_a_deletion_is_survived_too(server, proxy, operator, admin):
    """The time to live deletes the resource once, whatever is answered to it."""
    names = [name for name in FAULTS if name != "silent"]

    def fault(namespace, name):
        return Times(lambda request: (request.namespace, request.verb) == (namespace, "delete"), FAULTS[name], 2)

    faults = {f"delete-{name}": fault(f"delete-{name}", name) for name in names}
    proxy.faults.extend(faults.values())
    job = SAMPLES["merge"][0]
    with Conductor(server.port).playing():
        for namespace in faults:
            create(admin, namespace, {**job, "spec": {**job["spec"], "ttlSecondsAfterFinished": 1}})

        def left():
            return [namespace for namespace in faults if admin.send("GET", f"/apis/{API}/namespaces/{namespace}/modelmerges/bot")[0] != 404]

        wait_for("all are deleted", lambda: left() == [], timeout=60, every=0.3)
    counts = operations(server.audited())
    assert {namespace: counts[namespace]["delete modelmerges/bot"] for namespace in faults} == dict.fromkeys(faults, 1)
    assert all(each.hits for each in faults.values())


ERROR = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "of the test"}}
GONE = {**ERROR, "object": {**ERROR["object"], "reason": "Expired", "code": 410}}
BROKEN = {**ERROR, "object": {**ERROR["object"], "reason": "InternalError", "code": 500}}


class TestWatches:
    """All watches of the operator fail in the middle of a run; it sees what happened meanwhile, and ends as any other."""

    def is_watch(self, request):
        return request.verb == "watch"

    def lists_or_watches(self, request):
        return request.verb in ("list", "watch") and request.namespace is None

    CASES = {
        "410-gone": (GONE, False, None),
        "500-in-the-stream": (BROKEN, False, None),
        "ended": (None, False, None),
        "torn-event": (None, True, None),
        "410-then-list-429": (GONE, False, Answer(429, "TooManyRequests", "later", {"Retry-After": "2"})),
        "410-then-list-503": (GONE, False, Answer(503, "ServiceUnavailable")),
        "410-then-list-403": (GONE, False, Answer(403, "Forbidden", "not now")),
        "ended-then-401": (None, False, Answer(401, "Unauthorized", "Unauthorized")),
        "ended-then-not-sent": (None, False, Cut()),
        "410-then-answer-lost": (GONE, False, Cut(sent=True)),
    }  # fmt: skip

    @pytest.mark.parametrize("case", CASES)
    def test_a_watch_that_fails(self, server, proxy, operator, admin, case):
        line, torn, then = self.CASES[case]
        namespace, alike, process = f"watch-{case}", f"alike-{case}", operator.process.pid
        conductor = Conductor(server.port)
        create(admin, namespace, *SAMPLES["ftj"])
        job = f"/apis/batch/v1/namespaces/{namespace}/jobs/bot-prepare"
        wait_for("the first Job", lambda: admin.send("GET", job)[0] == 200)
        broken: list[Fault] = [Times(self.lists_or_watches, then, 4)] if then else []
        before = len(proxy.requests(None, "list", "watch"))
        with proxy.fault(*broken):
            assert proxy.end_watches(self.is_watch, line, torn=torn) >= 9
            create(admin, alike, *SAMPLES["ftj"])
            with conductor.playing():
                runs = dict.fromkeys((namespace, alike), "ftj")
                wait_for("both end", lambda: unfinished(admin, runs) == [], timeout=90, every=0.3)
        states, counts = end_states(admin), operations(server.audited())
        assert difference(states[alike], states[namespace]) == []
        assert counts[alike] == counts[namespace]
        assert operator.process.pid == process
        assert operator.process.poll() is None
        assert all(len(each.hits) == each.times for each in broken), "the fault came"
        # Ten kinds of objects are watched; each begins again with a list and a watch, after a few tries at most.
        assert len(proxy.requests(None, "list", "watch")) - before < 150

    def test_what_was_deleted_while_nobody_watched_is_noticed(self, server, proxy, operator, admin):
        """Kopf does not say what a second list no longer has: a Job deleted meanwhile is made again, nothing is made for a resource that is gone."""
        create(admin, "gap", *SAMPLES["ftj"], resource("ModelMerge", adapter={"uri": "hf://org/adapter@main"}, base={"uri": "hf://org/model@main"}))
        jobs, ours = "/apis/batch/v1/namespaces/gap/jobs", f"/apis/{API}/namespaces/gap"
        wait_for("both Jobs", lambda: len(admin.items(jobs)) == 2)
        wait_for(
            "both wait",
            lambda: all("no Pod yet" in said(each) for each in (admin.must("GET", f"{ours}/finetunejobs/bot"), admin.must("GET", f"{ours}/modelmerges/bot"))),
        )
        first = admin.must("GET", f"{jobs}/bot-prepare")["metadata"]["uid"]
        assert proxy.silence_watches(lambda request: request.resource in ("jobs", "modelmerges")) == 2
        background = {"propagationPolicy": "Background"}
        admin.must("DELETE", f"{jobs}/bot-prepare", background)
        admin.must("DELETE", f"{ours}/modelmerges/bot", background)
        admin.must("DELETE", f"{jobs}/bot-merge", background)
        assert proxy.end_watches(lambda request: request.resource in ("jobs", "modelmerges"), GONE) == 2
        seen = len(proxy.requests("gap"))
        wait_for("the Job is made again", lambda: (admin.send("GET", f"{jobs}/bot-prepare")[1].get("metadata", {}).get("uid") or first) != first, timeout=60)
        assert [each["metadata"]["name"] for each in admin.items(jobs)] == ["bot-prepare"]
        late = [each.request for each in proxy.requests("gap")[seen:] if each.request.writes and "merge" in (each.request.name or "")]
        assert late == [], "nothing is written for the ModelMerge that is gone"

    def test_a_half_open_watch_is_given_up(self, server, proxy, operator, admin):
        """Streams that say nothing and are never closed; the silence is cut to 4 s for the test, with the API server's bookmarks it is 70 s."""
        operator.stop()
        operator.environment = {"TUNEWRIGHT_WATCH_SILENCE_SECONDS": "4"}
        try:
            operator.start()
            create(admin, "half-open", *SAMPLES["merge"])
            wait_for("the Job", lambda: admin.send("GET", "/apis/batch/v1/namespaces/half-open/jobs/bot-merge")[0] == 200)
            assert proxy.silence_watches(self.is_watch) >= 9
            with Conductor(server.port).playing():
                wait_for("it ends", lambda: not unfinished(admin, {"half-open": "merge"}), timeout=60, every=0.3)
        finally:
            operator.stop()
            operator.environment = {}
            operator.start()


def said(body):
    return next((each["message"] for each in body.get("status", {}).get("conditions", []) if each["type"] == "Succeeded"), "")


def test_every_deletion_had_a_uid_as_its_precondition(proxy, operator):
    """Over everything the operator deleted behind the proxy."""
    deletions = [each.request for each in proxy.requests(None, "delete")]
    assert deletions
    assert [each for each in deletions if not each.uid] == []
