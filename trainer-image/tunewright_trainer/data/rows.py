"""One row of a data set: three layouts in, one list of messages out. The layout is decided for each row by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

Role = Literal["system", "user", "assistant"]

RowReason = Literal[
    "NotUTF8", "NotJSON", "NotAnObject", "MissingField", "WrongType", "EmptyPrompt", "EmptyAnswer", "UnknownRole", "LastTurnNotAssistant", "TurnOrder", "Template",
]  # fmt: skip

ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")

LAYOUTS: Final = "`messages`, or `prompt` and `completion`, or `instruction` (with an optional `input`) and `output`"


class RowError(Exception):
    """A row that cannot be used: a reason code, and a short sentence without the row's content (it may be private)."""

    def __init__(self, reason: RowReason, message: str) -> None:
        super().__init__(message)
        self.reason: RowReason = reason


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True)
class Row:
    """A chat that ends with an assistant's turn (the answer that is trained or expected), and its category where it has one."""

    messages: tuple[Message, ...]
    category: str | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Return the turns before the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """Return the content of the last turn."""
        return self.messages[-1].content


def parse_row(value: object) -> Row:
    """Return the row that a JSON value stands for; raises RowError. Fields that no layout knows are ignored."""
    if not isinstance(value, Mapping):
        raise RowError("NotAnObject", f"not an object but {_json_type(value)}")
    messages = _messages_of(value)
    _check_turns(messages)
    category = value.get("category")
    if category is not None and not isinstance(category, str):
        raise RowError("WrongType", f"`category` is {_json_type(category)}, it must be a string")
    return Row(messages, _checked_text(category, "category") if category else None)


def _messages_of(value: Mapping[str, object]) -> tuple[Message, ...]:
    # `messages` goes first: a prepared data set has it beside `prompt` and `completion`, which hold text with the template's tokens there.
    if "messages" in value:
        return _chat(value["messages"], "messages")
    if "prompt" in value and "completion" in value and isinstance(value["prompt"], list):
        return _chat(value["prompt"], "prompt") + _chat(value["completion"], "completion")
    if "prompt" in value or "completion" in value:
        return (Message("user", _text(value, "prompt")), Message("assistant", _text(value, "completion")))
    if "instruction" in value or "output" in value:
        question = _text(value, "instruction")
        extra = _text(value, "input") if value.get("input") is not None else ""
        return (Message("user", f"{question}\n\n{extra}" if extra.strip() else question), Message("assistant", _text(value, "output")))
    raise RowError("MissingField", f"no known layout; a row has {LAYOUTS}")


def _text(value: Mapping[str, object], field: str) -> str:
    if field not in value:
        raise RowError("MissingField", f"`{field}` is missing")
    text = value[field]
    if not isinstance(text, str):
        raise RowError("WrongType", f"`{field}` is {_json_type(text)}, it must be a string")
    return _checked_text(text, field)


def _checked_text(text: str, field: str) -> str:
    # JSON can spell half a surrogate pair, which no tokenizer and no UTF-8 file can hold.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RowError("NotUTF8", f"`{field}` has half a surrogate pair")
    return text


def _chat(value: object, field: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise RowError("WrongType", f"`{field}` is {_json_type(value)}, it must be a list of messages")
    return tuple(_message(turn, f"{field}[{index}]") for index, turn in enumerate(value))


def _message(value: object, field: str) -> Message:
    if not isinstance(value, Mapping):
        raise RowError("WrongType", f"`{field}` is {_json_type(value)}, it must be an object")
    for key in ("role", "content"):
        if key not in value:
            raise RowError("MissingField", f"`{field}.{key}` is missing")
    role, content = value["role"], value["content"]
    if role not in ROLES:
        raise RowError("UnknownRole", f"`{field}.role` must be system, user or assistant")
    if not isinstance(content, str):
        raise RowError("WrongType", f"`{field}.content` is {_json_type(content)}, it must be a string")
    return Message(role, _checked_text(content, f"{field}.content"))


def _check_turns(messages: tuple[Message, ...]) -> None:
    if not messages:
        raise RowError("EmptyPrompt", "there are no messages")
    if messages[-1].role != "assistant":
        raise RowError("LastTurnNotAssistant", f"the last turn is the {messages[-1].role}'s, it must be the assistant's")
    turns = [message.role for message in messages]
    if "system" in turns[1:]:
        raise RowError("TurnOrder", "only the first turn may be the system's")
    chat = turns[1:] if turns[0] == "system" else turns
    if chat[0] != "user":
        raise RowError("TurnOrder", "the first turn after the system's must be the user's")
    for role, following in pairwise(chat):
        if role == following:
            raise RowError("TurnOrder", f"two {role} turns in a row")
    if any(not message.content.strip() for message in messages if message.role == "user"):
        raise RowError("EmptyPrompt", "a user's turn is empty")
    if any(not message.content.strip() for message in messages if message.role == "assistant"):
        raise RowError("EmptyAnswer", "the answer is empty")


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for kind, name in ((str, "a string"), (int, "a number"), (float, "a number"), (list, "a list"), (Mapping, "an object")):
        if isinstance(value, kind):
            return name
    return type(value).__name__
