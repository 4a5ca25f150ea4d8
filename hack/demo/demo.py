"""The demo's screen: applies the quickstart, shows its progress until all four resources are done, asks the served model a question.

Usage: demo.py KUBECONFIG KUBECTL
TUNEWRIGHT_DEMO_SVG=FILE writes a picture of it: the screen in the middle of the training, then the end (docs/demo.svg is one).
"""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from openai import OpenAI
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

NAMESPACE = "quickstart"
NAME = "docstrings"
QUICKSTART = Path(__file__).resolve().parents[2] / "examples/quickstart"
STAGES = (("finetunejobs", "FineTuneJob"), ("modelmerges", "ModelMerge"), ("evaluations", "Evaluation"), ("inferenceservices", "InferenceService"))
ENDED = {"Done", "Ready", "Failed"}
PATIENCE_SECONDS = 45 * 60


class Kubectl:
    """kubectl against one cluster, in the demo's namespace."""

    def __init__(self, kubeconfig: str, program: str) -> None:
        self.base = [program, "--kubeconfig", kubeconfig, "--namespace", NAMESPACE]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it prints; raises CalledProcessError."""
        return subprocess.run([*self.base, *arguments], input=stdin, check=True, capture_output=True, text=True).stdout

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the demo's resources by kind."""
        answer = json.loads(self("get", ",".join(f"{plural}.tunewright.dev" for plural, _ in STAGES), "--output", "json"))
        return {item["kind"]: item for item in answer["items"] if item["metadata"]["name"] == NAME}

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[int]:
        """Forward a local port to the service; yields the local port."""
        process = subprocess.Popen([*self.base, "port-forward", f"service/{service}", f":{port}"], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split("->")[0].rsplit(":", 1)[1])
        finally:
            process.terminate()
            process.wait()


def screen(found: dict[str, dict[str, Any]], started: float) -> Group:
    """Return the screen: a line for each resource, and what the running one says."""
    table = Table(title=f"Tunewright quickstart   {int(time.monotonic() - started)} s", title_justify="left", box=None, padding=(0, 2))
    for column in ("KIND", "STATE", "", "PROGRESS", "STEP", "LOSS", "EVAL", "TOKENS/S", "ETA"):
        table.add_column(column)
    message = ""
    for _, kind in STAGES:
        status = found.get(kind, {}).get("status", {})
        progress = status.get("progress", {})
        state = status.get("state", "Pending")
        done = state in {"Done", "Ready"}
        percent = 100 if done else progress.get("percent", 0)
        colour = "green" if done else "red" if state == "Failed" else "grey50" if state in {"Waiting", "Pending"} else "cyan"
        step = f"{progress['step']}/{progress['totalSteps']}" if "step" in progress and "totalSteps" in progress else ""
        bar = ProgressBar(total=100, completed=percent, width=24)
        figures = [f"{progress[key]:.4g}" if key in progress else "" for key in ("loss", "evalLoss", "tokensPerSecond")]
        table.add_row(kind, Text(state, colour), bar, progress.get("percentText", ""), step, *figures, progress.get("etaText", ""))
        if not done and not message:
            message = next((each["message"] for each in reversed(status.get("conditions", [])) if each["type"] in ("Succeeded", "Ready")), "")
    return Group(table, Text(), Text(message, "italic"))


def in_the_middle(found: dict[str, dict[str, Any]]) -> bool:
    """Return whether the training is half done, which makes the picture that says most."""
    status = found.get("FineTuneJob", {}).get("status", {})
    return status.get("state") == "Training" and status.get("progress", {}).get("percent", 0) >= 50


def scores(console: Console, evaluation: dict[str, Any]) -> None:
    """Print the scores of the base and of the tuned model."""
    status = evaluation["status"]
    table = Table(title=f"Evaluation: {status['verdict']}. {status['verdictMessage']}", title_justify="left")
    for column in ("category", "rows", "exact match: base", "tuned", "valid JSON: base", "tuned", "similarity: base", "tuned"):
        table.add_column(column)
    for row in status["scores"]:
        pairs = (
            f"{row[key]:.2f}" for metric in ("ExactMatch", "FormatCompliance", "Similarity") for key in (f"baseline{metric}", metric[0].lower() + metric[1:])
        )
        table.add_row(row["category"], str(row["count"]), *pairs)
    console.print(table)


def ask(kubectl: Kubectl) -> tuple[str, str, str]:
    """Ask the served model one held-out question with the openai client; return question, answer and the expected answer."""
    data = next(each for each in yaml.safe_load_all((QUICKSTART / "00-data.yaml").read_text()) if each["metadata"]["name"] == "quickstart-heldout")
    row = json.loads(data["data"]["heldout.jsonl"].splitlines()[0])
    question = f"{row['instruction']}\n\n{row['input']}"
    with kubectl.forwarded(NAME, 8000) as port:
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        answer = client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=160)
    text = answer.choices[0].message.content or ""
    json.loads(text)  # the tuned model answers with valid JSON; a traceback here is the demo failing
    return question, text, row["output"]


def follow(kubectl: Kubectl, console: Console, picture: Console) -> dict[str, dict[str, Any]]:
    """Show the resources until they have ended, or can get no further; return them as they are then."""
    started = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    pictured = False
    with Live(console=console, refresh_per_second=2) as live:
        while time.monotonic() - started < PATIENCE_SECONDS:
            found = kubectl.resources()
            live.update(screen(found, started))
            if not pictured and in_the_middle(found):
                picture.print(screen(found, started), Text())
                pictured = True
            if is_over(found):
                break
            time.sleep(2)
    return found


def is_over(found: dict[str, dict[str, Any]]) -> bool:
    """Return whether nothing more will come: all done, one failed, or a verdict that keeps the model from being served."""
    statuses = [found.get(kind, {}).get("status", {}) for _, kind in STAGES]
    states = [status.get("state") for status in statuses]
    return "Failed" in states or any(status.get("verdict") == "Failed" for status in statuses) or all(state in ENDED for state in states)


def end(console: Console, table: str, evaluation: dict[str, Any], question: str, answer: str, expected: str) -> None:
    """Print the resources as kubectl shows them, the scores, and the served model's answer."""
    console.print(Text("$ kubectl get ftj,mmerge,tfeval,tfisvc", "bold"), Text(table), sep="\n")
    scores(console, evaluation)
    for title, text, colour in (
        ("A held-out question", question, "grey70"),
        ("The served model's answer", answer, "green"),
        ("Expected", expected, "grey70"),
    ):
        console.print(Text(title, "bold"), Text(text, colour), sep="\n")


FURTHER = f"""
Look further:
  export KUBECONFIG=$(make -s kubeconfig) PATH=$PATH:~/.cache/tunewright/bin/current
  kubectl -n {NAMESPACE} describe finetunejob {NAME}
  kubectl -n {NAMESPACE} logs job/{NAME}-train
  kubectl explain finetunejob.spec.training
  kubectl -n {NAMESPACE} port-forward service/{NAME} 8000
  make cluster-down"""


def main() -> int:
    """Run the demo; return the exit code."""
    kubectl = Kubectl(sys.argv[1], sys.argv[2])
    console, picture = Console(), Console(record=True, width=150, file=io.StringIO())
    restricted = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
    kubectl("apply", "--filename", "-", stdin=restricted)
    kubectl("apply", "--filename", str(QUICKSTART))
    found = follow(kubectl, console, picture)
    table = kubectl("get", "ftj,mmerge,tfeval,tfisvc")
    if [found[kind]["status"].get("state") for _, kind in STAGES] != ["Done", "Done", "Done", "Ready"]:
        console.print(Text(table), Text(kubectl("describe", "ftj,mmerge,tfeval,tfisvc")), sep="\n")
        return 1
    asked = ask(kubectl)
    for each in (console, picture):
        end(each, table, found["Evaluation"], *asked)
    if path := os.environ.get("TUNEWRIGHT_DEMO_SVG"):
        picture.save_svg(path, title="make demo")
    console.print(FURTHER, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
