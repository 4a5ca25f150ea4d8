"""Progress: what a trainer answers on `GET /progress` while it runs."""

from typing import Literal

from tunewright.contract.wire import Wire


class Progress(Wire):
    """One reading. `percent` is 0 to 100 of the whole verb; losses are nats per token; `eta_seconds` is to the end of the verb.

    A field that has no value yet is left out: a reading never invents a number.
    """

    verb: Literal["prepare", "train", "merge", "evaluate", "fetch"]
    phase: str
    percent: int
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: int | None = None
    resumed_from_step: int | None = None
    updated_time: str
