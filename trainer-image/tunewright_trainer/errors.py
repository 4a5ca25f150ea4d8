"""What a run can fail with, and the one table from a failure's reason to the container's exit code."""

import errno
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from tunewright.contract.exit_codes import ExitCode
from tunewright.contract.run_result import FailureReason

EXIT_CODES: Final[dict[FailureReason, ExitCode]] = {
    "BadData": ExitCode.BAD_DATA,
    "EmptyDataset": ExitCode.BAD_DATA,
    "DigestMismatch": ExitCode.BAD_DATA,
    "UnsafeModel": ExitCode.BAD_DATA,
    "Denied": ExitCode.DENIED,
    "BadConfiguration": ExitCode.BAD_CONFIG,
    "ModelNotFound": ExitCode.BAD_CONFIG,
    "DatasetNotFound": ExitCode.BAD_CONFIG,
    "NoChatTemplate": ExitCode.BAD_CONFIG,
    "Stopped": ExitCode.RESUMABLE,
    # A retry may land on a bigger or emptier node, and a resumed run starts from weights that were still finite.
    "OutOfMemory": ExitCode.ERROR,
    "DiskFull": ExitCode.ERROR,
    "NotFinite": ExitCode.ERROR,
    "InternalError": ExitCode.ERROR,
}


class RunError(Exception):
    """A failure with a reason of the contract and a sentence for the user that says what is wrong and what to do."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason: FailureReason = reason


class StopRequested(BaseException):
    """The container got SIGTERM. A BaseException, so that no library's `except Exception` swallows it."""


@dataclass(frozen=True)
class Failure:
    """How an exception is told to the operator. `expected` is False for what needs a traceback in the log."""

    reason: FailureReason
    message: str
    expected: bool = True

    @property
    def exit_code(self) -> ExitCode:
        """Return the container's exit code of the reason."""
        return EXIT_CODES[self.reason]


def classify(error: BaseException) -> Failure:
    """Return the failure that `error` stands for; what is not known is an InternalError with the exception's type and first line."""
    if isinstance(error, RunError):
        return Failure(error.reason, str(error))
    if isinstance(error, StopRequested):
        return Failure("Stopped", "stopped by SIGTERM before the end; the work done so far is kept and the next attempt goes on from it")
    if isinstance(error, ValidationError):
        return Failure("BadConfiguration", _validation_sentence(error))
    if _is_out_of_memory(error):
        return Failure("OutOfMemory", f"out of memory: {_first_line(error)}; lower batchSize or maxLength, or ask for more memory", expected=False)
    if _is_disk_full(error):
        return Failure("DiskFull", f"no space left on the volume: {_first_line(error)}; use a bigger volume", expected=False)
    return Failure("InternalError", f"{type(error).__name__}: {_first_line(error)}", expected=False)


def _is_out_of_memory(error: BaseException) -> bool:
    # torch is not imported here (prepare and fetch run without it), so its class is known by name; on CPU torch raises a plain RuntimeError.
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, MemoryError) or "OutOfMemoryError" in names or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def _is_disk_full(error: BaseException) -> bool:
    # safetensors and tokenizers write through Rust and raise their own class with the system's text.
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left on device" in str(error)


def _validation_sentence(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    named = "; ".join(f"{'.'.join(str(part) for part in problem['loc']) or 'run spec'}: {problem['msg']}" for problem in problems[:5])
    return f"the run spec does not fit this trainer ({named}); operator and trainer image must have the same version"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else "no message")[:500]
