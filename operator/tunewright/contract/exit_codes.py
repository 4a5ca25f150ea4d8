"""The exit codes of a trainer container, read by the Job's podFailurePolicy and by the failure classifier alike."""

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What a trainer container ends with. 65, 75, 77 and 78 are sysexits.h's EX_DATAERR, EX_TEMPFAIL, EX_NOPERM and EX_CONFIG."""

    DONE = 0
    ERROR = 1
    BAD_DATA = 65
    RESUMABLE = 75
    DENIED = 77
    BAD_CONFIG = 78
    KILLED = 137


NEVER_RETRIED: Final = (ExitCode.BAD_DATA, ExitCode.DENIED, ExitCode.BAD_CONFIG)
"""Codes that the same input produces again: a retry would only spend GPU time."""
