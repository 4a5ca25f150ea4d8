"""`python -m tunewright_trainer`: runs the verb of TUNEWRIGHT_RUN_SPEC, tells its progress over HTTP and its result to the kubelet."""

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, get_args

from tunewright.contract.exit_codes import ExitCode
from tunewright.contract.run_result import RunResult
from tunewright.contract.run_spec import (
    PROGRESS_PORT,
    RUN_SPEC_ENV,
    TERMINATION_MESSAGE_PATH,
    EvaluateSpec,
    FetchSpec,
    MergeSpec,
    PrepareSpec,
    TrainSpec,
    parse_run_spec,
)
from tunewright_trainer.environment import adopt_secrets, prepare_environment
from tunewright_trainer.errors import Failure, RunError, StopRequested, classify
from tunewright_trainer.log import log
from tunewright_trainer.progress import ProgressBoard, Verb
from tunewright_trainer.redact import Redactor, redact_output, secret_values
from tunewright_trainer.result import write_result
from tunewright_trainer.server import start_server
from tunewright_trainer.stop import StopSignal

TERMINATION_LOG_ENV = "TUNEWRIGHT_TERMINATION_LOG"
PORT_ENV = "TUNEWRIGHT_PROGRESS_PORT"

Spec = PrepareSpec | TrainSpec | MergeSpec | EvaluateSpec | FetchSpec


def run_verb(spec: Spec, board: ProgressBoard, stop: StopSignal) -> RunResult:
    """Run the verb of `spec`; its module is imported only now, since prepare and fetch run in images without torch."""
    match spec:
        case PrepareSpec():
            from tunewright_trainer.data.prepare import run_prepare

            return run_prepare(spec, board)
        case TrainSpec():
            from tunewright_trainer.train import run_train

            return run_train(spec, board, stop)
        case MergeSpec():
            from tunewright_trainer.merge import run_merge

            return run_merge(spec, board)
        case EvaluateSpec():
            from tunewright_trainer.evaluate import run_evaluate

            return run_evaluate(spec, board)
        case FetchSpec():
            from tunewright_trainer.fetch import run_fetch

            return run_fetch(spec, board)


def main(environ: Mapping[str, str], redactor: Redactor) -> ExitCode:
    """Run to the end, write the result and return the exit code. What goes wrong becomes the result; SIGTERM may end the process in here."""
    termination_log = Path(environ.get(TERMINATION_LOG_ENV, TERMINATION_MESSAGE_PATH))
    verb: Verb = verb_in(environ.get(RUN_SPEC_ENV, ""))

    def stop_now() -> None:
        failure = classify(StopRequested())
        _exit(_finish(failed(verb, failure), failure.exit_code, termination_log, redactor))

    try:
        stop = StopSignal()
        stop.install(stop_now)
        spec = _read_spec(environ)
        verb = spec.verb
        board = ProgressBoard(verb)
        _serve(board, int(environ.get(PORT_ENV, PROGRESS_PORT)))
        result = run_verb(spec, board, stop)
        board.done()
        code = ExitCode.DONE
    except BaseException as error:
        failure = classify(error)
        if not failure.expected:
            traceback.print_exc(file=sys.stdout)
        result, code = failed(verb, failure), failure.exit_code
    return _finish(result, code, termination_log, redactor)


def _finish(result: RunResult, code: ExitCode, termination_log: Path, redactor: Redactor) -> ExitCode:
    result = result.model_copy(update={"message": redactor.text(result.message)})
    log(f"{result.outcome}{f' ({result.reason})' if result.reason else ''}: {result.message}")
    write_result(result, termination_log)
    return code


def failed(verb: Verb, failure: Failure) -> RunResult:
    """Return the result of a run that did not succeed."""
    outcome = "Stopped" if failure.reason == "Stopped" else "Failed"
    return RunResult(verb=verb, outcome=outcome, reason=failure.reason, message=failure.message)


def verb_in(text: str) -> Verb:
    """Return the verb named in a run spec that may not parse; `prepare` when there is none, since a result must name one."""
    compact = text.replace(" ", "")
    verbs: tuple[Verb, ...] = get_args(Verb)
    return next((verb for verb in verbs if f'"verb":"{verb}"' in compact), "prepare")


def _read_spec(environ: Mapping[str, str]) -> Spec:
    text = environ.get(RUN_SPEC_ENV)
    if not text:
        raise RunError("BadConfiguration", f"{RUN_SPEC_ENV} is not set: this container is started by the Tunewright operator")
    return parse_run_spec(text)


def _serve(board: ProgressBoard, port: int) -> None:
    try:
        start_server(board, port)
    except OSError as error:
        # Only live progress is lost; a run of hours must not fail for that.
        log(f"no progress is served: port {port}: {error}")


def _exit(code: ExitCode) -> NoReturn:
    # Not sys.exit: threads of torch and of the download client may hang or crash while the interpreter ends, after the result is written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    hide = Redactor(secret_values(os.environ))
    redact_output(hide)
    unused = adopt_secrets(os.environ)
    prepare_environment()
    if unused:
        log(f"keys of Secrets that are not used: {', '.join(unused)}")
    _exit(main(os.environ, hide))
