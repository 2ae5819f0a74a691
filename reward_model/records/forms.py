"""Which columns of a row hold prompt and responses, in the forms that public data sets have.

`asked(row)` finds the prompt, `two_sides(row)` two responses and which of them people preferred,
`spoken(row)` a conversation, `answered(row)` a single response: for every command that reads rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

PROMPTS = ("prompt", "instruction", "question", "query", "context", "input")
"""Columns of the prompt: the first that is there."""
ANSWERS = ("response", "completion", "output", "answer")
"""Columns of a single response."""
CHATS = ("messages", "conversations", "conversation")
"""Columns of a whole conversation: OpenAI's, ShareGPT's, LMSYS's."""

_STRENGTH = ("overall_preference", "preference_strength")
"""HelpSteer's numbers: below 0 the first is better, above 0 the second, 0 is a tie."""
_WORDS = ("winner", "preference", "label")
_WON = ("winner_model_a", "winner_model_b", "winner_tie")
"""LMSYS's other form: one of three columns is 1."""
_SIDES = (
    ("response1", "response2"),
    ("response_1", "response_2"),
    ("response_a", "response_b"),
    ("response_A", "response_B"),
    ("completion_a", "completion_b"),
    ("output_1", "output_2"),
    ("conversation_a", "conversation_b"),
)
_FIRST = frozenset({"a", "1", "model_a", "response_a", "a>b", "a>>b", "model_1", "response_1"})
_SECOND = frozenset({"b", "2", "model_b", "response_b", "b>a", "b>>a", "model_2", "response_2"})


class Sides(NamedTuple):
    """Two responses to one prompt."""

    names: tuple[str, str]
    """Their columns."""
    better: int | None = None
    """Which of them people preferred, 0 or 1; None where nobody said so."""
    tied: bool = False
    """People saw no difference."""
    unread: str = ""
    """What is said in the column of the preference, where it cannot be read."""


def asked(row: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Column and content of the prompt; Alpaca's `input` follows its `instruction`.

    >>> asked({"question": "Margins?", "context": {"page": 3}})
    ('question', 'Margins?')
    """
    name = next((n for n in PROMPTS if _is_text(row.get(n))), None)
    if row.get("prompt") is not None:
        name = "prompt"  # whatever it holds: who reads it says what is wrong with it
    if name is None:
        return None
    more = row.get("input")
    if name == "instruction" and isinstance(more, str) and more.strip():
        told = row[name]
        return name, f"{told}\n\n{more}" if isinstance(told, str) else told
    return name, row[name]


def two_sides(row: Mapping[str, Any]) -> Sides | None:
    """Two responses and the preference between them: HelpSteer2's and 3's preferences, LMSYS's,
    PPE's, JudgeBench's, LLMBar's and MT-Bench's rows.

    >>> two_sides({"response_a": "x", "response_b": "y", "winner": "model_b"})
    Sides(names=('response_a', 'response_b'), better=1, tied=False, unread='')
    """
    names = next((pair for pair in _SIDES if all(n in row for n in pair)), None)
    if names is None or (names[0] == "response_1" and "response_3" in row):
        return None
    read: dict[str, Callable[[Any], int | None]] = {
        **dict.fromkeys(_STRENGTH, _sign), **dict.fromkeys(_WORDS, _word)
    }  # fmt: skip
    column = next((n for n in read if row.get(n) not in (None, "")), None)
    if column is None:
        won = [str(row.get(n)).strip().lower() in ("1", "1.0", "true") for n in _WON]
        if sum(won) != 1:
            return Sides(names)
        sign = (-1, 1, 0)[won.index(True)]
        return Sides(names, {-1: 0, 1: 1}.get(sign), sign == 0)
    found = read[column](row[column])
    if found is None:
        return Sides(names, unread=f"{str(row[column])[:60]!r} in {column}")
    return Sides(names, {-1: 0, 1: 1}.get(found), found == 0)


def spoken(row: Mapping[str, Any]) -> str | None:
    """Column of a conversation, whose last answer is the response.

    >>> spoken({"conversations": [{"from": "human", "value": "Hi"}]})
    'conversations'
    """
    return next((n for n in CHATS if isinstance(row.get(n), list) and row[n]), None)


def answered(row: Mapping[str, Any]) -> str | None:
    """Column of a single response.

    >>> answered({"instruction": "Add.", "output": "3"})
    'output'
    """
    return next((n for n in ANSWERS if n in row), None)


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list | tuple) and bool(value) and all(_is_turn(one) for one in value)


def _is_turn(one: Any) -> bool:
    return not isinstance(one, str | int | float | list) and one is not None


def _sign(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return (number > 0) - (number < 0) if number == number else None


def _word(value: Any) -> int | None:
    """-1: the first; 1: the second; 0: a tie.

    >>> _word("model_a"), _word("b-is-slightly-better"), _word("tie (bothbad)"), _word(3)
    (-1, 1, 0, None)
    """
    said = str(value).strip().lower()
    if said in _FIRST or (said.startswith("a-is-") and said.endswith("better")):
        return -1
    if said in _SECOND or (said.startswith("b-is-") and said.endswith("better")):
        return 1
    return 0 if said.startswith("tie") or said in ("both_bad", "bothbad", "same", "a=b") else None
