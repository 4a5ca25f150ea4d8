"""The verb `evaluate`: greedy answers of a model and a baseline to the same rows, scored, every answer published."""

import gc
import json
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.contract.run_result import ArtifactRef, EvaluationScores, RunResult
from tunewright.contract.run_spec import EvaluateSpec, ModelSource
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, find_published, publish, reference, sha256_of, staging
from tunewright_trainer.data.prepare import first_rows
from tunewright_trainer.data.read import Located, data_files
from tunewright_trainer.data.rows import RowError
from tunewright_trainer.data.template import ChatTemplate, load_tokenizer
from tunewright_trainer.errors import RunError
from tunewright_trainer.generate import answer_prompts
from tunewright_trainer.locate import check_adapter_base, model_digest, resolve_adapter, resolve_dataset, resolve_model
from tunewright_trainer.log import log
from tunewright_trainer.models import dtype_of, load_adapter, load_model
from tunewright_trainer.progress import ProgressBoard, eta, share
from tunewright_trainer.scoring import ItemScore, score_item, totals
from tunewright_trainer.versions import inputs_digest, versions

ANSWERS_FILE = "answers.jsonl"
SCORES_FILE = "scores.json"

MODEL, BASELINE = "model", "baseline"


def run_evaluate(spec: EvaluateSpec, board: ProgressBoard) -> RunResult:
    """Evaluate and publish; an evaluation that an earlier attempt published from the same inputs is returned at once."""
    board.phase("Loading", 0)
    data = resolve_dataset(spec.dataset)
    output = Path(spec.output_dir)
    inputs = inputs_digest(spec, data=[sha256_of(file) for file in data_files(data)])
    published = find_published(output, spec.owner, inputs)
    if published is not None:
        log(f"{output} holds this evaluation already")
        return _succeeded(EvaluationScores.model_validate_json((output / SCORES_FILE).read_bytes()), reference(output, published))
    rows = first_rows(data, spec.limit)
    sides = {MODEL: spec.model} | ({BASELINE: spec.baseline} if spec.baseline is not None else {})
    work = _Work(spec, board, rows, total=len(rows) * len(sides))
    answers: dict[str, list[str]] = {}
    for group in group_by_base(sides):
        answers |= work.answer(group)
    board.phase("Scoring", 97)
    items = {
        side: [score_item(located.row.answer, answer, spec.response_format) for located, answer in zip(rows, answers[side], strict=True)] for side in sides
    }
    categories = [located.row.category for located in rows]
    scores = EvaluationScores(model=totals(items[MODEL], categories), baseline=totals(items[BASELINE], categories) if BASELINE in sides else ())
    with staging(output) as directory:
        _write_answers(directory / ANSWERS_FILE, rows, answers, items)
        (directory / SCORES_FILE).write_text(scores.to_json() + "\n", encoding="utf-8")
        details = {INPUTS_KEY: inputs, "dataset": spec.dataset.uri, "precision": spec.precision, "maxNewTokens": str(spec.max_new_tokens)}
        details |= {"batchSize": str(spec.batch_size), "responseFormat": spec.response_format, **versions("torch", "transformers", "peft")}
        artifact = publish(directory, output, Provenance("Evaluation", spec.owner, details, spec.model.base.uri, spec.model.base.digest, work.parents))
    return _succeeded(scores, artifact)


def group_by_base(sides: dict[str, ModelSource]) -> list[dict[str, ModelSource]]:
    """Return the sides in groups with the same base, which is then loaded once."""
    groups: dict[tuple[str, str | None], dict[str, ModelSource]] = {}
    for side, source in sides.items():
        groups.setdefault((source.base.path or source.base.uri, source.base.digest), {})[side] = source
    return list(groups.values())


class _Work:
    """The answers of all sides to the same rows, and the progress over them."""

    def __init__(self, spec: EvaluateSpec, board: ProgressBoard, rows: list[Located], total: int) -> None:
        self._spec, self._board, self._rows, self._total = spec, board, rows, total
        self._done = 0
        self._seconds = 0.0
        self.parents: tuple[str, ...] = ()

    def answer(self, group: dict[str, ModelSource]) -> dict[str, list[str]]:
        """Load the base of `group` once, answer with each side, and free it."""
        base_source = next(iter(group.values())).base
        self._board.phase("Loading")
        base = resolve_model(base_source)
        tokenizer = load_tokenizer(base)
        prompts = _prompts(self._rows, ChatTemplate(tokenizer), tokenizer)
        model = load_model(base, dtype_of(self._spec.precision))
        _check_room(prompts, self._rows, self._spec.max_new_tokens, model.config)
        digest = model_digest(base, base_source)
        self.parents += (digest,)
        for side, source in group.items():
            if source.adapter is not None:
                adapter = resolve_adapter(source.adapter)
                check_adapter_base(adapter, digest)
                self.parents += (model_digest(adapter, source.adapter),)
                model = load_adapter(model, adapter, side)
        answers = {side: self._answer_side(model, tokenizer, prompts, side, source) for side, source in group.items()}
        del model
        gc.collect()
        return answers

    def _answer_side(self, model: Any, tokenizer: Any, prompts: list[list[int]], side: str, source: ModelSource) -> list[str]:
        self._board.phase("Evaluating" if side == MODEL else "EvaluatingBaseline")
        self._board.update(step=self._done, total_steps=self._total)
        if source.adapter is not None:
            model.set_adapter(side)
        with model.disable_adapter() if source.adapter is None and hasattr(model, "disable_adapter") else nullcontext():
            return answer_prompts(model, tokenizer, prompts, self._spec.max_new_tokens, self._spec.batch_size, self._counter())

    def _counter(self) -> Any:
        last = time.monotonic()

        def count(answered: int) -> None:
            nonlocal last
            now = time.monotonic()
            self._seconds += now - last
            last = now
            self._done += answered
            self._board.update(
                step=self._done, percent=share(self._done, self._total, 3, 97), eta_seconds=eta(self._done, self._total, self._seconds)
            )  # fmt: skip
            log(f"{self._done}/{self._total} answers")

        return count


def _prompts(rows: list[Located], template: ChatTemplate, tokenizer: Any) -> list[list[int]]:
    prompts = []
    for located in rows:
        try:
            prompts.append(tokenizer.encode(template.prompt(located.row.prompt), add_special_tokens=False))
        except RowError as error:
            raise RunError("BadData", f"{located.file} line {located.line}: {error}") from error
    return prompts


def _check_room(prompts: list[list[int]], rows: list[Located], max_new_tokens: int, config: Any) -> None:
    room = getattr(config, "max_position_embeddings", None)
    longest = max(range(len(prompts)), key=lambda index: len(prompts[index]))
    if room is not None and len(prompts[longest]) + max_new_tokens > room:
        where = f"{rows[longest].file} line {rows[longest].line}"
        raise RunError(
            "BadConfiguration", f"{where}: {len(prompts[longest])} prompt tokens and {max_new_tokens} new ones are over the model's {room}; lower maxNewTokens"
        )


def _write_answers(path: Path, rows: list[Located], answers: dict[str, list[str]], items: dict[str, list[ItemScore]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for index, located in enumerate(rows):
            line: dict[str, object] = {"index": index, "file": located.file, "line": located.line, "category": located.row.category}
            line["prompt"] = [asdict(message) for message in located.row.prompt]
            line["expected"] = located.row.answer
            line["answer"], line["scores"] = answers[MODEL][index], _score_fields(items[MODEL][index])
            if BASELINE in answers:
                line["baselineAnswer"], line["baselineScores"] = answers[BASELINE][index], _score_fields(items[BASELINE][index])
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _score_fields(item: ItemScore) -> dict[str, object]:
    return {"exactMatch": item.exact_match, "formatCompliance": item.format_compliance, "similarity": round(item.similarity, 6)}


def _succeeded(scores: EvaluationScores, artifact: ArtifactRef) -> RunResult:
    first = scores.model[0]
    message = f"exact match {first.exact_match:.3f} over {first.count} rows" + (f", baseline {scores.baseline[0].exact_match:.3f}" if scores.baseline else "")
    return RunResult(verb="evaluate", outcome="Succeeded", message=message, artifact=artifact, scores=scores)
