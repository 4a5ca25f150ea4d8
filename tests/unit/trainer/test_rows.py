"""One row: every layout in, one list of messages out, or a reason."""

import pytest

from tunewright_trainer.data.rows import Message, Row, RowError, parse_row

USER, ANSWER = Message("user", "Hi"), Message("assistant", "Hello")


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ({"instruction": "Hi", "output": "Hello"}, (USER, ANSWER)),
        ({"instruction": "Hi", "input": "", "output": "Hello"}, (USER, ANSWER)),
        ({"instruction": "Hi", "input": None, "output": "Hello"}, (USER, ANSWER)),
        ({"instruction": "Sum", "input": "1 2", "output": "3"}, (Message("user", "Sum\n\n1 2"), Message("assistant", "3"))),
        ({"prompt": "Hi", "completion": "Hello"}, (USER, ANSWER)),
        ({"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello"}]}, (USER, ANSWER)),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}, (USER, ANSWER)),
        (
            {"messages": [{"role": role, "content": role} for role in ("system", "user", "assistant", "user", "assistant")]},
            tuple(Message(role, role) for role in ("system", "user", "assistant", "user", "assistant")),
        ),
        ({"instruction": "Hi", "output": "Hello", "id": 7, "source": {"page": 1}}, (USER, ANSWER)),
    ],
)
def test_each_layout(value, messages):
    assert parse_row(value).messages == messages


def test_messages_win_over_rendered_text():
    value = {
        "prompt": "<|im_start|>user\nHi",
        "completion": "Hello<|im_end|>",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    }
    assert parse_row(value) == Row((USER, ANSWER))


@pytest.mark.parametrize(("value", "category"), [("billing", "billing"), (None, None), ("", None)])
def test_category(value, category):
    assert parse_row({"prompt": "Hi", "completion": "Hello", "category": value}).category == category


def chat(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize(
    ("value", "reason", "part"),
    [
        ([1], "NotAnObject", "not an object but a list"),
        ("text", "NotAnObject", "a string"),
        (None, "NotAnObject", "null"),
        ({}, "MissingField", "`messages`"),
        ({"text": "Hi"}, "MissingField", "`instruction`"),
        ({"instruction": "Hi"}, "MissingField", "`output` is missing"),
        ({"output": "Hi"}, "MissingField", "`instruction` is missing"),
        ({"prompt": "Hi"}, "MissingField", "`completion` is missing"),
        ({"prompt": "Hi", "completion": 3}, "WrongType", "`completion` is a number"),
        ({"prompt": "Hi", "completion": None}, "WrongType", "`completion` is null"),
        ({"instruction": "Hi", "input": True, "output": "x"}, "WrongType", "`input` is a boolean"),
        ({"prompt": "Hi", "completion": " \n"}, "EmptyAnswer", "the answer is empty"),
        ({"prompt": " ", "completion": "x"}, "EmptyPrompt", "empty"),
        ({"prompt": "Hi", "completion": "\ud800"}, "NotUTF8", "surrogate"),
        ({"prompt": "Hi", "completion": "x", "category": 3}, "WrongType", "`category`"),
        ({"messages": "Hi"}, "WrongType", "`messages` is a string"),
        ({"messages": []}, "EmptyPrompt", "no messages"),
        ({"messages": ["Hi"]}, "WrongType", "`messages[0]`"),
        ({"messages": [{"role": "user"}]}, "MissingField", "`messages[0].content` is missing"),
        ({"messages": [{"role": "user", "content": 1}]}, "WrongType", "`messages[0].content`"),
        (chat(("user", "a"), ("tool", "b")), "UnknownRole", "`messages[1].role`"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "UnknownRole", "`messages[0].role`"),
        (chat(("user", "a")), "LastTurnNotAssistant", "the last turn is the user's"),
        (chat(("user", "a"), ("user", "b"), ("assistant", "c")), "TurnOrder", "two user turns in a row"),
        (chat(("user", "a"), ("assistant", "b"), ("assistant", "c")), "TurnOrder", "two assistant turns in a row"),
        (chat(("assistant", "a")), "TurnOrder", "must be the user's"),
        (chat(("system", "a"), ("assistant", "b")), "TurnOrder", "must be the user's"),
        (chat(("user", "a"), ("system", "b"), ("assistant", "c")), "TurnOrder", "system"),
        (chat(("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")), "EmptyAnswer", "empty"),
    ],
)
def test_each_problem(value, reason, part):
    with pytest.raises(RowError) as caught:
        parse_row(value)
    assert caught.value.reason == reason
    assert part in str(caught.value)
