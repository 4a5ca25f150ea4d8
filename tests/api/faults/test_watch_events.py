"""Events of watches lost, late, twice, and lists that are old: the operator decides by what is, not by what it was told."""

import time
from collections import Counter

from support.api_server import wait_for
from support.conductor import Conductor
from support.end_state import difference, end_states, operations
from support.faults import Delay, EventFault, Times
from support.samples import SAMPLES, create, unfinished

HOLD = 20
"""How long an event waits for one that supersedes it, in seconds, before it comes late."""


def of(namespace, plural=None):
    return lambda event: event.namespace == namespace and plural in (None, event.resource)


def test_every_superseded_event_lost_and_events_late_and_twice(server, proxy, operator, admin, record_property):
    """The whole chain, once for each event of it that is lost, once for each kind whose events are all late, once with every event twice."""
    started = time.monotonic()
    with Conductor(server.port).playing():
        create(admin, "events-unbroken", *SAMPLES["chain"])
        wait_for("the unbroken run", lambda: not unfinished(admin, {"events-unbroken": "chain"}), timeout=60)
        time.sleep(1)
        events = [each for each in proxy.events if each.namespace == "events-unbroken"]
        superseded = sum(any(later.about == each.about for later in events[number + 1 :]) for number, each in enumerate(events))
        runs = {f"lost-{number}": EventFault(of(f"lost-{number}"), number, "drop", seconds=HOLD) for number in range(len(events))}
        for plural in sorted({each.resource for each in events}):
            runs[f"late-{plural}"] = EventFault(of(f"late-{plural}", plural), None, "late", seconds=0.7)
        runs["twice"] = EventFault(of("twice"), None, "twice")
        proxy.event_faults.extend(runs.values())
        for namespace in runs:
            create(admin, namespace, *SAMPLES["chain"])
        wait_for("all runs end", lambda: unfinished(admin, dict.fromkeys(runs, "chain")) == [], timeout=240, every=0.5)
        time.sleep(HOLD + 0.5)  # what was held back as never superseded has come by now
    states, counts, wrong = end_states(admin), operations(server.audited()), []
    for namespace in runs:
        wrong += [f"{namespace}: {line}" for line in difference(states["events-unbroken"], states[namespace])]
        if counts[namespace] != counts["events-unbroken"]:
            wrong.append(f"{namespace}: {dict(counts[namespace])} instead of {dict(counts['events-unbroken'])}")
    assert wrong == []
    lost = Counter(f"{fault.hit.type} {fault.hit.resource}" for fault in runs.values() if fault.hit is not None and fault.dropped)
    # The others came late: what supersedes them comes of the operator having seen them.
    assert sum(lost.values()) >= superseded / 4
    assert {each.partition(" ")[0] for each in lost} >= {"ADDED", "MODIFIED"}
    record_property("events lost", sum(lost.values()))
    record_property("chains", len(runs))
    print(
        f"{len(events)} events in a chain, {superseded} of them superseded, {sum(lost.values())} lost ({dict(lost)}); {len(runs)} chains in {time.monotonic() - started:.0f} s"
    )


def test_old_lists_after_a_restart_change_nothing(server, proxy, operator, admin, record_property):
    """Lists recorded in the middle of a chain are served after its end: nothing is made, deleted or undone, though they say that half of it is missing."""
    recorded, conductor = [], Conductor(server.port)
    create(admin, "stale", *SAMPLES["chain"])
    recorded.append(proxy.record_lists())
    deadline = time.monotonic() + 60
    while unfinished(admin, {"stale": "chain"}):
        assert time.monotonic() < deadline
        conductor.step()
        time.sleep(0.5)
        recorded.append(proxy.record_lists())
    time.sleep(1)
    before, made = end_states(admin)["stale"], operations(server.audited())["stale"]
    chosen = recorded[:: max(1, len(recorded) // 4)]
    try:
        for lists in chosen:
            operator.kill()
            proxy.stale = lists
            opened = proxy.opened
            operator.start()
            proxy.stale = {}
            wait_for("everything is watched", lambda: proxy.opened >= opened + 9)  # noqa: B023
            time.sleep(3)
            assert difference(before, end_states(admin)["stale"]) == []
            assert operations(server.audited())["stale"] == made
    finally:
        proxy.stale = {}
        if operator.process is None:
            operator.start()
    record_property("old lists", len(chosen))
    print(f"restarted with {len(chosen)} old lists of {len(recorded)} recorded")


def test_a_job_whose_pod_is_seen_late_is_not_run_again(server, proxy, operator, admin):
    """After a restart the list of Pods is old and their watch slow, that of Jobs is new: the Job has ended and there seems to be no Pod of it."""
    create(admin, "pods-late", *SAMPLES["merge"])
    conductor = Conductor(server.port)
    wait_for("the Job", lambda: admin.send("GET", "/apis/batch/v1/namespaces/pods-late/jobs/bot-merge")[0] == 200)
    wait_for(
        "it waits",
        lambda: (
            "no Pod yet"
            in conductor._said().get(admin.must("GET", "/apis/tunewright.dev/v1alpha1/namespaces/pods-late/modelmerges/bot")["metadata"]["uid"], "")
        ),
    )
    lists = {path: body for path, body in proxy.record_lists().items() if path.startswith("/api/v1/pods")}
    assert len(lists) == 1, list(lists)
    conductor.step()
    wait_for("the Pod is seen", lambda: [each for each in proxy.events if (each.namespace, each.resource) == ("pods-late", "pods")])
    operator.kill()
    conductor.step()
    time.sleep(0.1)
    conductor.step()
    job = admin.must("GET", "/apis/batch/v1/namespaces/pods-late/jobs/bot-merge")
    if not job["status"].get("conditions"):
        # It did not get to say that the Pod runs before it was killed: end the Job all the same.
        conductor.finish(job)
    slow = Times(lambda request: (request.verb, request.resource, request.namespace) == ("watch", "pods", None), Delay(5), 1)
    proxy.faults.append(slow)
    proxy.stale = lists
    operator.start()
    proxy.stale = {}
    wait_for("it ends", lambda: not unfinished(admin, {"pods-late": "merge"}), timeout=60)
    proxy.faults.remove(slow)
    assert slow.hits
    assert operations(server.audited())["pods-late"] == {"create persistentvolumeclaims/bot-merge": 1, "create jobs/bot-merge": 1}
