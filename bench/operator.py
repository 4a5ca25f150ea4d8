"""`make bench-operator`: the operator with N resources whose children are moved by a stand-in, on a real kube-apiserver and etcd.

The last line is JSON: `resources`; `all_done_s`, from the first write to the last; `p50_s` and `p99_s`, from the end of a child to the status that accounts
for it; `writes_per_resource`, status writes and Events over its life; `rss_mb`, the most memory at any time, the restart's included; `idle_writes`;
`restart_converged_s`, from the start of a killed operator until it has looked at every resource.

limits.json is written by `--keep RUNS` and read by `--check`: `resources` (how many), `runs` (how often), `means` (of each figure), `each` (the figure of
every run, to see how far they lie apart) and `reference_s` (the mean of the reference task: the speed of the machine it was measured on).
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.audit import RULES, AuditLog, Resource, delays, is_done, is_read, is_write, made, seconds, status_written, writes_by_resource
from support.api_server import ADMIN, SETTINGS, TOKENS, ApiServer, Body, Operator, wait_for
from support.fleet import Fleet
from support.paths import PLURALS, path
from tunewright.api import API_VERSION

LIMITS: Final = Path(__file__).with_name("limits.json")
SPARE: Final = 1.2
"""A limit is the mean of the runs kept in limits.json, and a fifth more."""
_TRIES: Final = 3
"""A check that does not hold is made again: what is slower stays slower, a hiccup of the machine does not."""

_NAMESPACE: Final = "bench"
_JOB_SECONDS: Final = 2.0
_SILENT_EVERY: Final = 10
"""The Pods of one chain in so many do not answer for their progress."""
_PATIENCE_SECONDS: Final = 1200.0
_REFERENCE_OBJECTS: Final = 300

Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """What was measured once. `reference_s` is how long the reference task took on the machine at that time."""

    figures: Figures
    reference_s: float


def chain(number: int) -> tuple[Body, ...]:
    """Return a resource of each kind, the last to end first: nothing needs to be applied in order."""
    name = f"c{number:05d}"
    merge, tuned = {"ref": {"kind": "ModelMerge", "name": name}}, {"ref": {"kind": "FineTuneJob", "name": name}}
    specs: dict[str, Body] = {
        "InferenceService": {"model": merge, "evaluationRef": {"name": name}, "resources": {"gpus": 0}},
        "Evaluation": {
            "model": merge, "baseline": {"uri": "hf://org/model@main"}, "dataset": tuned,
            "thresholds": [{"metric": "ExactMatch", "minimumGain": 0.4}], "resources": {"gpus": 0},
        },
        "ModelMerge": {"adapter": tuned},
        "FineTuneJob": {"model": {"uri": "hf://org/model@main"}, "dataset": {"uri": "configmap://rows/train.jsonl"}, "resources": {"gpus": 0}},
    }  # fmt: skip
    return tuple({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec} for kind, spec in specs.items())


def main() -> None:
    """Run once and print the figures, run several times and keep their means, or run and compare with the means kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, default=1000, help="how many, of all four kinds together")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="how long to watch it when all is done")
    parser.add_argument("--check", action="store_true", help=f"run with the number of resources of {LIMITS.name}, and fail when a limit is passed")
    parser.add_argument("--keep", type=int, metavar="RUNS", help=f"run so often, and write the means to {LIMITS.name}")
    arguments = parser.parse_args()
    kept = json.loads(LIMITS.read_text()) if arguments.check else None
    resources = kept["resources"] if kept else arguments.resources
    runs: list[Run] = []
    passed: list[str] = []
    for _ in range(arguments.keep or (_TRIES if kept else 1)):
        runs.append(bench(resources, arguments.idle_seconds))
        print(json.dumps(runs[-1].figures), flush=True)
        if kept and not (passed := over(limits(runs[-1:]), kept)):
            break
    if arguments.keep:
        LIMITS.write_text(json.dumps(limits(runs), indent=2) + "\n")
    for line in passed:
        print(line, file=sys.stderr)
    sys.exit(bool(passed))


def limits(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what limits.json keeps of some runs."""
    each = {key: [run.figures[key] for run in runs] for key in runs[0].figures if key != "resources"}
    return {
        "resources": runs[0].figures["resources"],
        "runs": len(runs),
        "means": {key: round(statistics.mean(values), 3) for key, values in each.items()},
        "each": each,
        "reference_s": round(statistics.mean(run.reference_s for run in runs), 3),
    }


def over(found: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """Return a line for every mean that passes its limit. A machine on which the reference task takes longer may take as much longer for the rest."""
    slower = max(1.0, found["reference_s"] / kept["reference_s"])
    lines = []
    for key, mean in kept["means"].items():
        limit = mean * SPARE * (slower if key.endswith("_s") else 1.0)
        if found["means"][key] > limit:
            told = f", on a machine that is {slower:.2f} times as slow" if slower > 1 and key.endswith("_s") else ""
            lines.append(f"{key}: {found['means'][key]} is over {limit:.3f}, which is the mean {mean} and a fifth{told}")
    return lines


def bench(resources: int, idle_seconds: float) -> Run:
    """Bring so many resources to their end, leave the operator alone, kill it and start it again; return the figures."""
    with running() as (server, operator):
        reference_s = asyncio.run(reference(server))
        log = AuditLog(server.audit_log)
        chains = [chain(number) for number in range(-(-resources // len(PLURALS)))]
        names = {(each["kind"], each["metadata"]["name"]) for bodies in chains for each in bodies}
        owners = asyncio.run(bring_to_end(server, chains, names, log))
        check_end(server, names)
        moments = [seconds(each) for each in log.entries]
        all_done = max(moments) - min(moments)
        wait_for("the operator has nothing left to do", lambda: queued(operator) == 0 and not quiet(log), timeout=60, every=3)
        life = list(log.entries)
        waits = sorted(delays(life, owners))

        cpu = cpu_seconds(operator)
        time.sleep(idle_seconds)
        idle_writes, idle_cpu = quiet(log), cpu_seconds(operator) - cpu
        rss, peak = (memory_mb(operator, each) for each in ("VmRSS", "VmHWM"))

        passes = reconciles(operator)
        converged = restart(operator, len(names))
        peak_again = memory_mb(operator, "VmHWM")
        changes = writes_by_resource(life)
        table = {
            "resources": f"{len(names)}, of which each waits for another or is waited for",
            "created by the operator": f"{sum(is_write(each) and made(each) for each in life)} objects",
            "other writes per resource": ", ".join(f"{what} {count / len(names):.2f}" for what, count in changes.most_common()),
            "passes per resource": f"{passes / len(names):.2f}",
            "reads per resource": f"{sum(is_read(each) for each in life) / len(names):.2f}",
            "memory": f"{rss:.0f} MB when idle, {peak:.0f} MB at most, {peak_again:.0f} MB at most after the restart",
            f"CPU in {idle_seconds:.0f} s idle": f"{idle_cpu:.2f} s",
            "writes after the restart": f"{quiet(log)}",
            "reference task": f"{reference_s:.2f} s",
        }
        for what, figure in table.items():
            print(f"{what:<28} {figure}")
        figures = {
            "resources": len(names),
            "all_done_s": round(all_done, 1),
            "p50_s": round(statistics.median(waits), 3),
            "p99_s": round(waits[int(len(waits) * 0.99)], 3),
            "writes_per_resource": round(changes.total() / len(names), 2),
            "rss_mb": round(max(peak, peak_again), 1),
            "idle_writes": idle_writes,
            "restart_converged_s": round(converged, 1),
        }
        return Run(figures, reference_s)


@contextmanager
def running() -> Iterator[tuple[ApiServer, Operator]]:
    """Start a server with our CRDs, and the operator."""
    with tempfile.TemporaryDirectory(prefix="bench-operator-") as folder, ApiServer.running(Path(folder), RULES) as server:
        operator = Operator(server, SETTINGS)
        try:
            server.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
            rows = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}}
            server.request("POST", f"/api/v1/namespaces/{_NAMESPACE}/configmaps", rows)
            operator.start()
            yield server, operator
        except BaseException:
            print(operator.log.read_text()[-3000:] if operator.log.exists() else "the operator was not started", file=sys.stderr)
            raise
        finally:
            operator.kill()


async def reference(server: ApiServer) -> float:
    """Return how long this machine takes to create some objects, none of which the operator sees: the best of three times."""
    path = f"/api/v1/namespaces/{_NAMESPACE}/configmaps"
    took = []
    async with Fleet(server.port, TOKENS[ADMIN], _NAMESPACE, _JOB_SECONDS, frozenset()).running() as fleet:
        for attempt in range(3):
            names = (f"reference-{attempt}-{number}" for number in range(_REFERENCE_OBJECTS))
            bodies = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x" * 1000}} for name in names]
            began = time.monotonic()
            await fleet.create(path, *bodies)
            took.append(time.monotonic() - began)
    return min(took)


async def bring_to_end(server: ApiServer, chains: list[tuple[Body, ...]], names: set[Resource], log: AuditLog) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Create the resources, move their children, and return whose they were once every resource has come to its end."""
    silent = frozenset(bodies[0]["metadata"]["name"] for bodies in chains[::_SILENT_EVERY])
    async with Fleet(server.port, TOKENS[ADMIN], _NAMESPACE, _JOB_SECONDS, silent).running() as fleet:
        log.read()
        log.entries.clear()  # what came before the first resource is not its life
        creating = asyncio.create_task(create(fleet, chains))
        left = set(names)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left:
            await asyncio.sleep(1)
            for entry in log.read():
                if (written := status_written(entry)) is not None and is_done(written[1]):
                    left.discard(written[0])
            assert time.monotonic() < deadline, f"{len(left)} of {len(names)} do not end, such as {sorted(left)[:4]}"
        await creating
        return fleet.owners


async def create(fleet: Fleet, chains: list[tuple[Body, ...]]) -> None:
    """Create all resources."""
    for bodies in chains:
        for body in bodies:
            await fleet.create(path(body["kind"], _NAMESPACE), body)


def check_end(server: ApiServer, names: set[Resource]) -> None:
    """Check that the API server has every resource at its end; the log is only what was said on the way."""
    done = {(kind, each["metadata"]["name"]) for kind in PLURALS for each in server.request("GET", path(kind, _NAMESPACE))["items"] if is_done(each["status"])}
    assert done == names, f"{len(names - done)} resources have gone back"


def restart(operator: Operator, resources: int) -> float:
    """Kill the operator, start it, and return the seconds until it has looked at every resource and wants to look at none again."""
    operator.kill()
    began = time.monotonic()
    operator.start(wait=False)
    wait_for("every resource was looked at", lambda: reconciles(operator) >= resources and queued(operator) == 0, timeout=300)
    return time.monotonic() - began


def quiet(log: AuditLog) -> int:
    """Return how often the operator has written since the log was last read."""
    return sum(is_write(each) for each in log.read())


def queued(operator: Operator) -> float:
    """Return how many keys wait in the operator's queue."""
    return sum(metric(operator, "tunewright_queue_keys"))


def reconciles(operator: Operator) -> float:
    """Return how many passes it has made."""
    return sum(metric(operator, "tunewright_reconciles_total"))


def metric(operator: Operator, name: str) -> list[float]:
    """Return the values of one of the operator's own metrics; none while it does not answer."""
    text = operator.probe("metrics") or ""
    return [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + " ", name + "{"))]


def _of_process(operator: Operator, file: str) -> str:
    """Return what the kernel tells of the operator's process."""
    assert operator.process is not None
    return Path(f"/proc/{operator.process.pid}/{file}").read_text()


def memory_mb(operator: Operator, line: str) -> float:
    """Return a line of the process's memory: VmRSS now, VmHWM at most."""
    return next(int(each.split()[1]) for each in _of_process(operator, "status").splitlines() if each.startswith(line)) / 1024


def cpu_seconds(operator: Operator) -> float:
    """Return the CPU time used so far."""
    user, system = _of_process(operator, "stat").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
