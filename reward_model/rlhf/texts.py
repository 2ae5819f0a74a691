"""What a trainer hands to a reward, as texts: strings, or chat messages with all they may hold.

`prompt_words(prompt)` and `completion_text(completion)`; what cannot be judged as text is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reward_model.records import Message, Text, UserError
from reward_model.records.chat import without_thought

Marks = tuple[str, str]
"""What stands before and after a thought: ``("<think>", "</think>")``."""


def prompt_words(prompt: Any) -> Text:
    """A prompt of a trainer as this package's own text.

    >>> prompt_words("Margins?")
    'Margins?'
    >>> prompt_words([{"role": "user", "content": [{"type": "text", "text": "Margins?"}]}])
    (Message(role='user', content='Margins?'),)

    Raises:
        UserError: it is neither a string nor chat messages of text.
    """
    if isinstance(prompt, str):
        return prompt
    return tuple(
        Message(role=role, content=content)
        for role, content in _messages(prompt, "prompt")
        if content
    )


def completion_text(completion: Any, thinking: Marks | None = None) -> str:
    """What a policy said: a string, or its messages; results of tools are not its words.

    Args:
        completion: as the trainer has it.
        thinking: marks around a thought that may come first, which is not part of what was said.

    >>> completion_text("Up.")
    'Up.'
    >>> called = {"role": "assistant", "content": None, "tool_calls": [{}]}
    >>> tool = {"role": "tool", "content": "14.2%"}
    >>> completion_text([called, tool, {"role": "assistant", "content": "Up to 14.2%."}])
    'Up to 14.2%.'

    Raises:
        UserError: it is neither a string nor chat messages of text.
    """
    if isinstance(completion, str):
        return without_thought(completion, thinking)
    messages = _messages(completion, "completion")
    said = (without_thought(c, thinking) for role, c in messages if role == "assistant")
    return "\n\n".join(filter(None, said))


def _messages(value: Any, what: str) -> list[tuple[str, str]]:
    if not isinstance(value, Sequence) or not all(
        isinstance(m, Mapping) and isinstance(m.get("role"), str) for m in value
    ):
        short = repr(value)
        raise UserError(
            f"{short if len(short) <= 60 else short[:57] + '...'} as a {what}",
            expected='a string or chat messages [{"role": ..., "content": ...}]',
        )
    return [(message["role"], _content(message.get("content"), what)) for message in value]


def _content(content: Any, what: str) -> str:
    """The text of one message; the content of one that only calls a tool is null."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Sequence):
        kinds = [block.get("type") if isinstance(block, Mapping) else block for block in content]
        if all(kind == "text" for kind in kinds):
            return "\n".join(str(block["text"]) for block in content)
        found = f"a {what} with content of type {', '.join(sorted({str(k) for k in kinds}))}"
    else:
        found = f"a {what} whose content is {type(content).__name__}"
    raise UserError(found, expected="text: this reward reads nothing else")
