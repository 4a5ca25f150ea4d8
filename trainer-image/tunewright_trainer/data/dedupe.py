"""Exact duplicates: rows with the same messages, role by role. The category is a label and does not make a row distinct."""

import hashlib
import json
from collections.abc import Iterable

from tunewright_trainer.data.read import Located
from tunewright_trainer.data.rows import Message, Row


def row_key(row: Row) -> bytes:
    """Return 32 bytes that are equal for rows with the same messages."""
    return messages_key(row.messages)


def messages_key(messages: tuple[Message, ...]) -> bytes:
    """Return 32 bytes that are equal for the same roles and contents. JSON keeps the fields apart: "ab","c" is not "a","bc"."""
    return hashlib.sha256(json.dumps([[message.role, message.content] for message in messages], ensure_ascii=False).encode()).digest()


def drop_duplicates(rows: Iterable[Located]) -> tuple[list[Located], int]:
    """Return the rows without the later ones of equal content, in their order, and how many were dropped."""
    seen: set[bytes] = set()
    kept: list[Located] = []
    dropped = 0
    for located in rows:
        key = row_key(located.row)
        if key in seen:
            dropped += 1
        else:
            seen.add(key)
            kept.append(located)
    return kept, dropped
