"""The files of a prepared data set: `train.jsonl`, `eval.jsonl` and `report.json`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tunewright_trainer.data.rows import Row
from tunewright_trainer.data.template import Rendered
from tunewright_trainer.errors import RunError

TRAIN_FILE = "train.jsonl"
EVAL_FILE = "eval.jsonl"
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class PreparedRow:
    """A row of the artifact: the chat, its rendering, and how many tokens both parts have together."""

    row: Row
    rendered: Rendered
    tokens: int


def write_rows(path: Path, rows: Iterable[PreparedRow]) -> None:
    """Write rows as JSONL with `prompt`, `completion`, `messages` and, where there is one, `category`."""
    with path.open("w", encoding="utf-8") as file:
        for prepared in rows:
            line: dict[str, object] = {
                "prompt": prepared.rendered.prompt,
                "completion": prepared.rendered.completion,
                "messages": [{"role": message.role, "content": message.content} for message in prepared.row.messages],
            }
            if prepared.row.category is not None:
                line["category"] = prepared.row.category
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_rendered(path: Path) -> Iterator[Rendered]:
    """Yield prompt and completion of each row of a prepared file; raises RunError BadData when the file is of another kind."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            value = json.loads(line)
            if not isinstance(value.get("prompt"), str) or not isinstance(value.get("completion"), str):
                raise RunError("BadData", f"{path} line {number} has no `prompt` and `completion`: it was not written by the prepare stage")
            yield Rendered(value["prompt"], value["completion"])
