"""The verb `prepare`: read, check, de-duplicate, render and split a data set, and publish it."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tunewright.contract.run_result import ArtifactRef, DataCounts, RunResult
from tunewright.contract.run_spec import PrepareSpec
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, find_published, publish, reference, sha256_of, staging
from tunewright_trainer.data.dedupe import drop_duplicates
from tunewright_trainer.data.prepared import EVAL_FILE, REPORT_FILE, TRAIN_FILE, PreparedRow, write_rows
from tunewright_trainer.data.read import Located, Problem, data_files, describe, read_lines
from tunewright_trainer.data.report import build_report
from tunewright_trainer.data.rows import RowError
from tunewright_trainer.data.split import split
from tunewright_trainer.data.template import ChatTemplate, load_tokenizer
from tunewright_trainer.errors import RunError
from tunewright_trainer.locate import pin, resolve_dataset, resolve_tokenizer
from tunewright_trainer.log import log
from tunewright_trainer.progress import ProgressBoard, share
from tunewright_trainer.versions import inputs_digest, versions

TOKENIZER_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja", "special_tokens_map.json")


@dataclass(frozen=True)
class Prepared:
    """What the rows of a data set became. The counts add up to the lines read."""

    train: list[PreparedRow]
    evaluation: list[PreparedRow]
    problems: list[Problem]
    too_long: list[tuple[str, int, int]]
    counts: DataCounts


def run_prepare(spec: PrepareSpec, board: ProgressBoard) -> RunResult:
    """Prepare the data set of `spec` and publish it at `output_dir`; the same data and parameters again are answered from there."""
    board.phase("Loading", 0)
    data = resolve_dataset(spec.dataset)
    pinned = pin(spec.model)
    model = resolve_tokenizer(pinned)
    output = Path(spec.output_dir)
    inputs = _inputs(spec, data, model)
    published = find_published(output, spec.owner, inputs)
    if published is not None:
        log(f"{output} holds this data set already")
        counts = DataCounts.model_validate(json.loads((output / REPORT_FILE).read_bytes())["counts"])
        return _succeeded(counts, reference(output, published), pinned.uri)
    prepared = prepare_rows(data, ChatTemplate(load_tokenizer(model)), spec, board)
    board.phase("Saving", 95)
    with staging(output) as directory:
        write_rows(directory / TRAIN_FILE, prepared.train)
        write_rows(directory / EVAL_FILE, prepared.evaluation)
        lengths = [row.tokens for row in prepared.train + prepared.evaluation]
        report = build_report(prepared.counts, prepared.problems, prepared.too_long, lengths, spec.max_length)
        (directory / REPORT_FILE).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        made_with = {INPUTS_KEY: inputs, "dataset": spec.dataset.uri, "seed": str(spec.seed), **versions("transformers")}
        provenance = Provenance("Dataset", spec.owner, made_with, base_uri=pinned.uri, base_digest=spec.model.digest)
        artifact = publish(directory, output, provenance)
    return _succeeded(prepared.counts, artifact, pinned.uri)


def prepare_rows(data: Path, template: ChatTemplate, spec: PrepareSpec, board: ProgressBoard) -> Prepared:
    """Take the rows of `data` through every check; raises RunError BadData or EmptyDataset with the lines and the counts."""
    board.phase("Reading", 2)
    located: list[Located] = []
    problems: list[Problem] = []
    for item in read_lines(data):
        (located if isinstance(item, Located) else problems).append(item)  # type: ignore[arg-type]
    rows = len(located) + len(problems)
    if rows == 0:
        raise RunError("EmptyDataset", "the data set is empty: it has no line that is not blank")
    several_files = len(data_files(data)) > 1
    _check_invalid(problems, rows, spec.max_invalid_fraction, several_files)
    distinct, duplicates = drop_duplicates(located)
    board.phase("Formatting", 20)
    kept, refused, too_long = _render_all(distinct, template, spec.max_length, board)
    problems += refused
    _check_invalid(problems, rows, spec.max_invalid_fraction, several_files)
    if len(kept) < 2:
        raise RunError("EmptyDataset", too_few(len(kept), rows, duplicates, len(too_long), len(problems), spec.max_length))
    train, evaluation = split(kept, lambda prepared: prepared.row, spec.eval_fraction, spec.seed)
    counts = DataCounts(
        rows=rows, invalid=len(problems), duplicates=duplicates, too_long=len(too_long), train=len(train), evaluation=len(evaluation),
        train_tokens=sum(row.tokens for row in train),
    )  # fmt: skip
    if counts.rows != counts.invalid + counts.duplicates + counts.too_long + counts.train + counts.evaluation:
        raise AssertionError(f"the counts of the data set do not add up: {counts}")
    return Prepared(train, evaluation, problems, too_long, counts)


def too_few(left: int, rows: int, duplicates: int, too_long: int, invalid: int, max_length: int) -> str:
    """Return the sentence for a data set of which fewer than 2 rows are left, and where the others went."""
    start = f"no row is left of {rows}" if left == 0 else f"only 1 distinct row is left of {rows}"
    if rows == left:
        return "the data set has only 1 row; training and evaluation need one each"
    if rows - left == duplicates:
        return f"{start}: the others are duplicates"
    parts = (
        (duplicates, f"{duplicates} duplicates"),
        (too_long, f"{too_long} over maxLength ({max_length} tokens)"),
        (invalid, f"{invalid} invalid"),
    )
    return f"{start}: {', '.join(text for count, text in parts if count)}"


def _render_all(
    rows: list[Located], template: ChatTemplate, max_length: int, board: ProgressBoard
) -> tuple[list[PreparedRow], list[Problem], list[tuple[str, int, int]]]:
    kept: list[PreparedRow] = []
    refused: list[Problem] = []
    too_long: list[tuple[str, int, int]] = []
    for number, located in enumerate(rows, start=1):
        if number % 500 == 0:
            board.update(percent=share(number, len(rows), 20, 95))
        try:
            rendered = template.render(located.row)
        except RowError as error:
            refused.append(Problem(located.file, located.line, error.reason, str(error)))
            continue
        tokens = sum(len(ids) for ids in template.token_ids(rendered))
        if tokens > max_length:
            too_long.append((located.file, located.line, tokens))
        else:
            kept.append(PreparedRow(located.row, rendered, tokens))
    return kept, refused, too_long


def _check_invalid(problems: list[Problem], rows: int, allowed: float, several_files: bool) -> None:
    if len(problems) > allowed * rows:
        raise RunError("BadData", describe(problems, rows, allowed, several_files))


def _inputs(spec: PrepareSpec, data: Path, model: Path) -> str:
    """Hash the parameters, the data and the tokenizer: a file may change below the same path."""
    files = {str(index): sha256_of(file) for index, file in enumerate(data_files(data))}
    tokenizer = {name: sha256_of(model / name) for name in TOKENIZER_FILES if (model / name).is_file()}
    return inputs_digest(spec, data=files, tokenizer=tokenizer)


def _succeeded(counts: DataCounts, artifact: ArtifactRef, model_uri: str) -> RunResult:
    left_out = ((counts.invalid, "invalid"), (counts.duplicates, "duplicate"), (counts.too_long, "too long"))
    dropped = ", ".join(f"{count} {name}" for count, name in left_out if count)
    message = f"{counts.train} rows for training, {counts.evaluation} for evaluation" + (f"; left out: {dropped}" if dropped else "")
    return RunResult(verb="prepare", outcome="Succeeded", message=message, artifact=artifact, model_uri=model_uri, data=counts)


def first_rows(path: Path, limit: int | None) -> list[Located]:
    """Return the first `limit` rows of a data set (all without one); raises RunError BadData when any of the lines read is invalid, EmptyDataset for none."""
    items = list(islice(read_lines(path), limit))
    problems = [item for item in items if isinstance(item, Problem)]
    if problems:
        raise RunError("BadData", describe(problems, len(items), 0, len(data_files(path)) > 1))
    if not items:
        raise RunError("EmptyDataset", "the data set is empty: it has no line that is not blank")
    return [item for item in items if isinstance(item, Located)]
