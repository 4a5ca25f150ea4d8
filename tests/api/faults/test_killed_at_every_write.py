"""The operator is killed at every write of every sample: just before it is sent, and just after it was answered. The end is that of an unbroken run.

One SIGKILL serves all points: each namespace has a point of its own, from which on nothing of it reaches the server. When all are there the process
is killed and started again. See `faults.Died`.
"""

import time
from itertools import chain

from support.api_server import wait_for
from support.conductor import Conductor
from support.end_state import difference, end_states, operations
from support.faults import Died, points
from support.samples import SAMPLES, create, unfinished

LEARN = 3
"""Unbroken runs of each sample: their writes are counted, and their ends must be the same before others are compared with it."""


def test_the_end_is_the_same_wherever_it_is_killed(server, proxy, operator, admin, record_property):
    started = time.monotonic()
    with Conductor(server.port).playing():
        learned = {f"learn-{sample}-{number}": sample for sample in SAMPLES for number in range(LEARN)}
        for namespace, sample in learned.items():
            create(admin, namespace, *SAMPLES[sample])
        wait_for("the unbroken runs end", lambda: unfinished(admin, learned) == [], timeout=90, every=0.5)
        settle(proxy, learned)
        ends, counts = end_states(admin), operations(server.audited())
        writes = {sample: [points(writes_of(proxy, namespace)) for namespace, each in learned.items() if each == sample] for sample in SAMPLES}
        for namespace, sample in learned.items():
            assert difference(ends[f"learn-{sample}-0"], ends[namespace]) == []
            assert counts[namespace] == counts[f"learn-{sample}-0"]
        lengths = {sample: [len(each) for each in runs] for sample, runs in writes.items()}
        print(f"writes of each unbroken run: {lengths}; {time.monotonic() - started:.0f} s")

        runs: dict[str, tuple[str, Died]] = {}
        for sample in SAMPLES:
            # The object writes are the same in every unbroken run; events and repeats may not be.
            for number, at in enumerate(sorted(set(chain(*writes[sample])))):
                for sent in (False, True):
                    namespace = f"kill-{sample}-{number}-{'after' if sent else 'before'}"
                    runs[namespace] = (sample, Died(namespace, at, sent))
        proxy.faults.extend(fault for _, fault in runs.values())
        for namespace, (sample, _) in runs.items():
            create(admin, namespace, *SAMPLES[sample])

        # A run need not make every write that another made: then it ends, and has no such write to be killed at.
        def at_their_points():
            alive = {namespace: sample for namespace, (sample, fault) in runs.items() if not fault.dead}
            return unfinished(admin, alive) == []

        wait_for("all namespaces are at their points", at_their_points, timeout=150, every=0.5)
        operator.kill()
        proxy.faults.clear()
        killed = time.monotonic()
        operator.start()
        kept = {namespace: sample for namespace, (sample, _) in runs.items()}
        wait_for("all runs end", lambda: unfinished(admin, kept) == [], timeout=150, every=0.5)
        settle(proxy, kept)

    states, counts, wrong = end_states(admin), operations(server.audited()), []
    for namespace, (sample, _) in runs.items():
        for line in difference(ends[f"learn-{sample}-0"], states[namespace]):
            wrong.append(f"{namespace}: {line}")
        if counts[namespace] != counts[f"learn-{sample}-0"]:
            wrong.append(f"{namespace}: {dict(counts[namespace])} instead of {dict(counts[f'learn-{sample}-0'])}")
    assert wrong == []
    missed = [fault.at for _, fault in runs.values() if not fault.dead]
    always = {sample: set.intersection(*map(set, writes[sample])) for sample in SAMPLES}
    assert [fault.at for sample, fault in runs.values() if not fault.dead and is_made(fault.at) and fault.at in always[sample]] == []
    dead = sum(fault.dead for _, fault in runs.values())
    per_sample = {sample: sum(fault.dead for each, fault in runs.values() if each == sample) for sample in SAMPLES}
    record_property("kill points", dead)
    record_property("seconds", round(time.monotonic() - started))
    print(f"killed at {dead} points of {len(runs)}: {per_sample}, {len(missed)} not come to; {time.monotonic() - killed:.0f} s from the kill to the end")


def test_killed_again_and_again_it_still_ends_the_same(server, proxy, operator, admin, record_property):
    """One chain; the process is killed for real after each of its writes, one after the other, until nothing is left to write."""
    namespace, kills = "again", 0
    with Conductor(server.port).playing():
        death = Died(namespace, None, sent=True)
        proxy.faults.append(death)
        create(admin, namespace, *SAMPLES["ftj"])
        while True:
            wait_for("the next write, or the end", lambda: death.dead or not unfinished(admin, {namespace: "ftj"}), timeout=60)  # noqa: B023
            if not death.dead:
                break
            operator.kill()
            kills += 1
            proxy.faults.remove(death)
            death = Died(namespace, None, sent=True)
            proxy.faults.append(death)
            operator.start(wait=False)
        proxy.faults.remove(death)
        wait_for("ready", operator.is_ready, timeout=60)
    create(admin, "unbroken", *SAMPLES["ftj"])
    with Conductor(server.port).playing():
        wait_for("the unbroken run ends", lambda: unfinished(admin, {"unbroken": "ftj"}) == [], timeout=60)
    settle(proxy, ("unbroken", namespace))
    states, counts = end_states(admin), operations(server.audited())
    assert difference(states["unbroken"], states[namespace]) == []
    assert counts[namespace] == counts["unbroken"]
    assert kills >= sum(counts["unbroken"].values()), "at least after each object that was made"
    record_property("kills in one run", kills)
    print(f"killed {kills} times in one run")


def writes_of(proxy, namespace):
    return [each.request for each in proxy.requests(namespace) if each.request.writes]


def is_made(at):
    """Return whether a point is the first creation of an object, or status of a resource: no run is without it."""
    (verb, _, _), number = at
    return verb in ("create", "apply", "status") and number == 1


def settle(proxy, namespaces, quiet=1.5):
    """Wait until the operator has written nothing to these namespaces for a while."""

    def is_quiet():
        times = [each.at for each in proxy.requests() if each.request.namespace in namespaces and each.request.writes]
        return not times or time.monotonic() - max(times) > quiet

    wait_for("nothing left to write", is_quiet, timeout=60)
