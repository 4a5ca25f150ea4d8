"""Renders rows with the model's own chat template, as the server will at inference.

A template is code of whoever made the model. transformers runs it in jinja2's immutable sandbox, which lets it reach nothing but the messages;
the sandbox bounds a single `range`, and neither time nor memory nor output: those are bounded here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunewright_trainer.bounded import TooMuch, bounded
from tunewright_trainer.data.rows import Message, Row, RowError
from tunewright_trainer.errors import RunError

MAX_SECONDS: Final = 5.0
"""To render one row; a long one takes some milliseconds."""
MAX_BYTES: Final = 1 << 30
"""Of memory while one row is rendered."""
MAX_ADDED_CHARACTERS: Final = 1_000_000
"""That a template may write beside the content of the messages; its own text is some thousand."""


@dataclass(frozen=True)
class Rendered:
    """A row as text with the template's tokens in it: what the model is given, and what it must answer (with its end token)."""

    prompt: str
    completion: str


def load_tokenizer(directory: Path) -> Any:
    """Load the tokenizer of a model directory without network or code; raises RunError NoChatTemplate when it has no chat template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise RunError("ModelNotFound", f"{directory} has no tokenizer that transformers can read: {str(error).splitlines()[0]}") from error
    if not tokenizer.chat_template:
        raise RunError(
            "NoChatTemplate",
            "the model's tokenizer has no chat template; use the instruction-tuned variant of the model, or add chat_template.jinja to its directory",
        )
    return tokenizer


class ChatTemplate:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def prompt(self, messages: tuple[Message, ...]) -> str:
        """Return the text up to where the model's answer begins; raises RowError when the template refuses the messages."""
        return self._apply(messages, add_generation_prompt=True)

    def render(self, row: Row) -> Rendered:
        """Return prompt and completion; the completion holds the tokenizer's end token. Raises RowError."""
        prompt = self.prompt(row.prompt)
        text = self._apply(row.messages, add_generation_prompt=False)
        if not text.startswith(prompt):
            raise RowError("Template", "the chat template writes the prompt differently once the answer is there, so the two cannot be told apart")
        completion = text[len(prompt) :]
        if row.answer.strip() not in completion:
            raise RowError("Template", "the chat template changes or leaves out the answer")
        end = self._tokenizer.eos_token
        # A model that never sees its end token in training never stops.
        return Rendered(prompt, completion if end is None or end in completion else completion + end)

    def token_ids(self, rendered: Rendered) -> tuple[list[int], list[int]]:
        """Return the token ids of prompt and completion, encoded apart: at inference the prompt is encoded alone as well."""
        return self._encode(rendered.prompt), self._encode(rendered.completion)

    def _encode(self, text: str) -> list[int]:
        # The template writes the begin token itself where the model has one.
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _apply(self, messages: tuple[Message, ...], add_generation_prompt: bool) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            with bounded(MAX_SECONDS, MAX_BYTES):
                text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
        except TooMuch as error:
            raise RunError("UnsafeModel", f"the model's chat template {error} on one row; use another model or mend its template") from error
        except (OverflowError, RecursionError) as error:  # the sandbox's limit of a range, a number too big to count with, a macro without end
            raise RunError("UnsafeModel", f"the model's chat template counts or calls too far: {_first_line(error)}") from error
        except (_template_error(), ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            raise RowError("Template", f"the chat template refuses it: {_first_line(error)}") from error
        # Content may be written more than once, as in a template that counts the turns.
        allowed = MAX_ADDED_CHARACTERS + 16 * sum(len(message.content) for message in messages)
        if len(text) > allowed:
            raise RunError("UnsafeModel", f"the model's chat template made {len(text)} characters of one row, allowed are {allowed}")
        return text


def _template_error() -> type[Exception]:
    """Return the base of jinja2's own exceptions; it is in the trainer's image only."""
    from jinja2.exceptions import TemplateError

    base: type[Exception] = TemplateError
    return base


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
