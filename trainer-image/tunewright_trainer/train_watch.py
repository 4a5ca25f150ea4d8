"""The callback that ties transformers' training loop to the run: progress, manifests of checkpoints, NaN, SIGTERM."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunewright_trainer.errors import RunError, StopRequested
from tunewright_trainer.log import log
from tunewright_trainer.progress import ProgressBoard, eta, share
from tunewright_trainer.stop import StopSignal
from tunewright_trainer.train_settings import not_finite

TRAINING_PERCENT = (2, 97)


class TrainWatch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for mypy here
    """Sees every step. `stopped` is set when training was ended early by a signal; `tokens_per_second` counts this attempt only."""

    def __init__(self, board: ProgressBoard, stop: StopSignal, on_saved: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._stop = stop
        self._on_saved = on_saved
        self._clock = clock
        self._began = clock()
        self._first_step = 0
        self.stopped = False
        self.saved_step: int | None = None
        self.tokens_per_second: float | None = None

    @property
    def seconds(self) -> float:
        """Return the wall time since training began in this attempt."""
        return self._clock() - self._began

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start the clock."""
        self._began = self._clock()
        self._first_step = state.global_step
        self._board.phase("Training")
        self._board.update(step=state.global_step, total_steps=state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After SIGTERM: save now and end, without another evaluation. This callback runs after transformers' own, so its word counts."""
        self._board.update(
            step=state.global_step,
            percent=share(state.global_step, state.max_steps, *TRAINING_PERCENT),
            eta_seconds=eta(state.global_step - self._first_step, state.max_steps - self._first_step, self.seconds),
        )
        if self._stop.requested:
            self.stopped = True
            control.should_save = True
            control.should_evaluate = False
            control.should_training_stop = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Report the step's values; raises RunError NotFinite for a loss that is no number."""
        logs = logs or {}
        broken = not_finite(logs)
        if broken is not None:
            raise RunError("NotFinite", f"{broken} is {logs[broken]} at step {state.global_step}; use a lower learningRate, or precision FP32")
        if "loss" in logs:
            # TRL counts the tokens from the beginning of the attempt, not of the run: just what is wanted.
            self.tokens_per_second = round(logs["num_tokens"] / max(self.seconds, 1e-9), 1) if "num_tokens" in logs else None
            self._board.update(loss=round(logs["loss"], 5), epoch=round(state.epoch or 0.0, 3), tokens_per_second=self.tokens_per_second)
            log(f"step {state.global_step}/{state.max_steps} loss {logs['loss']:.4f} {self.tokens_per_second or 0:.0f} tokens/s")
        if "eval_loss" in logs:
            self._board.update(eval_loss=round(logs["eval_loss"], 5))
            log(f"step {state.global_step}/{state.max_steps} eval loss {logs['eval_loss']:.4f}")

    def on_prediction_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave a long evaluation on SIGTERM: the grace period is for the checkpoint."""
        if self._board.reading().phase != "Evaluating":
            self._board.phase("Evaluating")
        if self._stop.requested:
            raise StopRequested

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Go back to training."""
        self._board.phase("Training")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Finish the checkpoint with its manifest."""
        self._on_saved(state.global_step)
        self.saved_step = state.global_step
        log(f"saved the checkpoint of step {state.global_step}")
