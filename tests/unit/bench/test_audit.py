"""What the bench reads from an audit log: whose writes count, and from when to when a delay runs."""

import json
from collections import Counter

import pytest

from bench.audit import AuditLog, delays, made, writes_by_resource
from bench.operator import Run, limits, over
from support.api_server import ADMIN, OPERATOR

OWNERS = {
    ("jobs", "a-prepare"): ("FineTuneJob", "a", "prepare"),
    ("jobs", "a-train"): ("FineTuneJob", "a", "train"),
    ("deployments", "b-server"): ("InferenceService", "b", "server"),
}


def entry(second, resource, name, *, user=OPERATOR, verb="patch", subresource="", code=200, group="", **more):
    target = {"resource": resource, "name": name, "subresource": subresource, "apiGroup": group}
    stamp = f"2026-01-01T00:00:{second:09.6f}Z"
    return {"user": {"username": user}, "verb": verb, "objectRef": target, "responseStatus": {"code": code}, "stageTimestamp": stamp, **more}


def reported(second, resource, name):
    return entry(second, resource, name, user=ADMIN, subresource="status")


def status(second, kind, name, code=200, **fields):
    body = {"kind": kind, "metadata": {"name": name}, "status": {"conditions": [], **fields}}
    return entry(second, kind.lower() + "s", name, subresource="status", group="tunewright.dev", code=code, responseObject=body)


def condition(type_, value):
    return [{"type": type_, "status": value}]


def test_a_delay_runs_from_the_last_report_of_a_child_to_the_first_status_that_accounts_for_it():
    log = [
        reported(1, "jobs", "a-prepare"),
        status(2, "FineTuneJob", "a", state="Preparing"),
        reported(3, "jobs", "a-prepare"),
        status(4, "FineTuneJob", "a", state="Preparing"),
        status(5, "FineTuneJob", "a", dataDigest="d"),
        reported(6, "jobs", "a-train"),
        status(7, "FineTuneJob", "a", dataDigest="d", conditions=condition("Succeeded", "Unknown")),
        status(8.25, "FineTuneJob", "a", dataDigest="d", conditions=condition("Succeeded", "True")),
        status(9, "FineTuneJob", "a", dataDigest="d", conditions=condition("Succeeded", "True")),
        reported(9.5, "deployments", "b-server"),
        status(10, "InferenceService", "b", conditions=condition("Ready", "True")),
    ]
    assert delays(log, OWNERS) == pytest.approx([2, 2.25, 0.5])


def test_a_child_nobody_accounts_for_is_an_error_and_a_refused_status_accounts_for_nothing():
    with pytest.raises(KeyError):
        delays([reported(1, "jobs", "a-prepare"), status(2, "FineTuneJob", "a", code=409, dataDigest="d")], OWNERS)


def test_creations_are_told_from_other_writes():
    log = [
        entry(1, "jobs", "a", verb="create", code=201),
        entry(1, "services", "a", verb="patch", code=201),
        entry(1, "events", "a", verb="create", code=201),
        entry(1, "finetunejobs", "a", verb="patch", subresource="status"),
        entry(1, "jobs", "a", verb="delete"),
        entry(1, "jobs", "a", verb="create", code=409),
        entry(1, "jobs", "a", verb="get"),
        entry(1, "jobs", "a", user=ADMIN, subresource="status"),
    ]
    assert [made(each) for each in log[:3]] == [True, True, False]
    assert writes_by_resource(log) == Counter({"jobs": 2, "events": 1, "finetunejobs/status": 1})


def test_a_line_that_is_half_written_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "audit.log"
    line = json.dumps({"n": 1})
    path.write_text(line + "\n" + line[:4])
    log = AuditLog(path)
    assert log.read() == [{"n": 1}]
    with path.open("a") as file:
        file.write(line[4:] + "\n")
    assert log.read() == [{"n": 1}]
    assert log.read() == []


def of_run(reference_s=1.0, **figures):
    return limits([Run({"resources": 4, **figures}, reference_s)])


@pytest.mark.parametrize(("figure", "passes"), [(1.2, False), (1.21, True)])
def test_a_limit_is_the_mean_and_a_fifth(figure, passes):
    assert bool(over(of_run(p50_s=figure), of_run(p50_s=1.0))) is passes
    assert over(of_run(idle_writes=1), of_run(idle_writes=0))


@pytest.mark.parametrize(("reference_s", "figure", "passes"), [(2.0, 2.4, False), (2.0, 2.41, True), (0.5, 1.2, False), (0.5, 1.21, True)])
def test_a_slower_machine_may_take_as_much_longer_and_write_no_more(reference_s, figure, passes):
    assert bool(over(of_run(reference_s, p50_s=figure), of_run(p50_s=1.0))) is passes
    assert over(of_run(reference_s, writes_per_resource=1.21), of_run(writes_per_resource=1.0))
    assert over(of_run(reference_s, rss_mb=121), of_run(rss_mb=100))


def test_what_is_kept_of_runs():
    kept = limits([Run({"resources": 4, "p50_s": 1.0}, 1.0), Run({"resources": 4, "p50_s": 2.0}, 2.0)])
    assert kept == {"resources": 4, "runs": 2, "means": {"p50_s": 1.5}, "each": {"p50_s": [1.0, 2.0]}, "reference_s": 1.5}
