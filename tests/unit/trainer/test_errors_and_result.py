"""From exceptions to exit codes, and the result that fits the termination message."""

import errno
from typing import get_args

import pytest
from pydantic import ValidationError

from tunewright.contract.exit_codes import NEVER_RETRIED
from tunewright.contract.run_result import MAX_RESULT_BYTES, ArtifactRef, EvaluationScores, FailureReason, RunResult, Score
from tunewright.contract.run_spec import parse_run_spec
from tunewright_trainer.errors import EXIT_CODES, RunError, StopRequested, classify
from tunewright_trainer.result import fit, write_result


def test_every_reason_has_an_exit_code():
    assert set(EXIT_CODES) == set(get_args(FailureReason))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("BadData", 65), ("EmptyDataset", 65), ("DigestMismatch", 65), ("UnsafeModel", 65), ("Stopped", 75), ("Denied", 77), ("BadConfiguration", 78),
        ("ModelNotFound", 78), ("DatasetNotFound", 78), ("NoChatTemplate", 78), ("OutOfMemory", 1), ("DiskFull", 1), ("NotFinite", 1), ("InternalError", 1),
    ],
)  # fmt: skip
def test_the_table(reason, code):
    failure = classify(RunError(reason, "why"))
    assert (failure.reason, failure.exit_code, failure.message) == (reason, code, "why")


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StopRequested(), "Stopped"),
        (MemoryError(), "OutOfMemory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "OutOfMemory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), "OutOfMemory"),
        (OSError(errno.ENOSPC, "No space left on device"), "DiskFull"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "DiskFull"),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), "DiskFull"),
        (ConnectionError("the hub is away"), "InternalError"),
        (KeyError("x"), "InternalError"),
        (AssertionError(), "InternalError"),
    ],
)
def test_foreign_errors(error, reason):
    failure = classify(error)
    assert failure.reason == reason
    assert failure.message


def test_a_wrong_run_spec_names_the_field():
    with pytest.raises(ValidationError) as caught:
        parse_run_spec('{"verb": "merge", "outputDir": 7, "surprise": 1}')
    failure = classify(caught.value)
    assert (failure.reason, failure.exit_code) == ("BadConfiguration", 78)
    assert failure.exit_code in NEVER_RETRIED
    assert "outputDir" in failure.message
    assert "surprise" in failure.message


def scores(categories):
    total = Score(count=10, exact_match=0.5, format_compliance=0.5, similarity=0.5)
    return (total, *(total.model_copy(update={"category": f"category {number:03}"}) for number in range(categories)))


def size(result):
    return len(result.to_json().encode())


def test_short_results_stay_whole():
    result = RunResult(verb="evaluate", outcome="Succeeded", message="x", scores=EvaluationScores(model=scores(3), baseline=scores(3)))
    assert fit(result) == result


@pytest.mark.parametrize("baseline", [True, False])
def test_categories_are_cut_for_both_alike(baseline):
    result = RunResult(verb="evaluate", outcome="Succeeded", message="fine", scores=EvaluationScores(model=scores(99), baseline=scores(99) if baseline else ()))
    short = fit(result)
    assert size(short) <= MAX_RESULT_BYTES
    assert short.message == "fine"
    assert 10 < len(short.scores.model) < 100
    assert not baseline or len(short.scores.model) == len(short.scores.baseline)
    assert short.scores.model[0].category is None


@pytest.mark.parametrize("message", ["x" * 9000, "é" * 9000, '"' * 9000, "😀" * 9000, "\x01" * 9000])
def test_messages_are_cut_last(message):
    result = RunResult(verb="train", outcome="Failed", reason="BadData", message=message, artifact=ArtifactRef(path="/o", digest="sha256:1", size_bytes=1))
    short = fit(result)
    assert MAX_RESULT_BYTES * 0.9 < size(short) <= MAX_RESULT_BYTES
    assert short.message.endswith("…")
    assert short.artifact == result.artifact


def test_the_termination_log_is_written_in_place(tmp_path):
    path = tmp_path / "log"
    path.write_text("x" * 10_000)
    inode = path.stat().st_ino
    write_result(RunResult(verb="fetch", outcome="Succeeded"), path)
    assert RunResult.model_validate_json(path.read_text()).verb == "fetch"
    assert path.stat().st_ino == inode
