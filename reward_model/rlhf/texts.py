"""What a trainer hands to a reward, as what was asked and what is judged.

`read_pair(prompt, completion)` reads strings and chat messages with all they may hold; what cannot
be judged as text is refused.
"""

from __future__ import annotations

from typing import Any

from reward_model.records import Text
from reward_model.records.chat.thoughts import Marks
from reward_model.records.chat.turns import Judged, judged
from reward_model.records.texts import as_words


def prompt_words(prompt: Any) -> Text:
    """A prompt of a trainer as this package's own text.

    >>> prompt_words([{"role": "user", "content": [{"type": "text", "text": "Margins?"}]}])
    (Message(role='user', content='Margins?'),)

    Raises:
        UserError: it is neither a string nor chat messages of text.
    """
    return judged(as_words(prompt, "prompt"), "").prompt


def read_pair(prompt: Any, completion: Any, thinking: Marks | None = None) -> Judged:
    """A prompt and what a policy said to it; results of tools are not its words.

    Args:
        prompt: a string or messages.
        completion: the same, as the trainer has it.
        thinking: marks around a thought that may come first, beside those that are known.

    >>> read_pair("Margins?", "(hm) Up.", ("(", ")")).text
    'Up.'
    >>> called = {"role": "assistant", "content": None, "tool_calls": [{}]}
    >>> tool = {"role": "tool", "content": "14.2%"}
    >>> read_pair("Margins?", [called, tool, {"role": "assistant", "content": "Up to 14.2%."}]).text
    'Up to 14.2%.'

    Raises:
        UserError: it is neither a string nor chat messages of text.
    """
    return judged(as_words(prompt, "prompt"), as_words(completion, "completion"), thinking)


__all__ = ["Marks", "prompt_words", "read_pair"]
