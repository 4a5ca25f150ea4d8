"""Renders rows with the model's own chat template, as the server will at inference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright_trainer.data.rows import Message, Row, RowError
from tunewright_trainer.errors import RunError


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
        from jinja2.exceptions import TemplateError

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
        except (TemplateError, ValueError, TypeError) as error:
            raise RowError("Template", f"the chat template refuses it: {str(error).splitlines()[0][:120]}") from error
        return text
