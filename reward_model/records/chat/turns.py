"""Any chat as what was asked and what is judged: the one way, for files, scorers and trainers.

`judged(prompt, response)` is what a scorer reads of one response; `apart(prompt, chosen, rejected)`
finds the turns that several responses have in common, which are their prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reward_model.records.chat.messages import ChatError, Message, Text
from reward_model.records.chat.thoughts import (
    MID_THOUGHT,
    NO_ANSWER,
    Answer,
    Marks,
    after_thought,
    kept,
)

NO_WORDS = "the response has no words of the assistant"
CALL_ALONE = "the response is a call of a tool without words"


class Judged(NamedTuple):
    """One response, taken apart."""

    prompt: Text
    """What was asked: a text, or the turns before the answer."""
    answer: str
    """What is judged; empty where there is no answer."""
    reason: str | None = None
    """Why there is none."""

    @property
    def text(self) -> str:
        """The answer, or a text that has none for every scorer, for the same reason."""
        return kept(self.answer, Answer(self.answer, self.reason))


def judged(prompt: Text, response: Text, thinking: Marks | None = None) -> Judged:
    """What was asked and what is judged.

    Of a response in messages the assistant's words are judged: not what tools gave back, and not
    turns of the prompt that stand before them. Without a prompt the response is a conversation:
    the assistant's words after the last turn of the user are judged, and what stands before them
    is the prompt. Thoughts that the answer begins with come off, by marks that are declared or
    known.

    Args:
        prompt: what was asked; empty where it is not known, or stands in the response.
        response: what the policy wrote, or the whole conversation.
        thinking: marks around a thought, beside those that are known.

    >>> from reward_model.records.chat.messages import as_messages
    >>> talk = as_messages([{"role": "user", "content": "Margins?"},
    ...     {"role": "assistant", "content": None, "tool_calls": [{}]},
    ...     {"role": "tool", "content": "14.2%"},
    ...     {"role": "assistant", "content": "<think>hm</think>Up to 14.2%."}])
    >>> judged("", talk)
    Judged(prompt=(Message(role='user', content='Margins?'),), answer='Up to 14.2%.', reason=None)
    """
    asked, (written,) = apart(prompt, response)
    answer = _answer(written, thinking)
    if not isinstance(asked, str):
        asked = tuple(message for message in asked if message.content) or ""
    return Judged(asked, answer.text, answer.reason)


def apart(prompt: Text, *responses: Text) -> tuple[Text, tuple[Text, ...]]:
    """The prompt of all responses, and of each what the policy wrote to it.

    Turns that all responses begin with are their prompt, and follow the prompt that is given
    unless they hold it.

    Raises:
        ChatError: the responses answer different turns.
    """
    chats = [response for response in responses if not isinstance(response, str)]
    if not chats:
        return prompt, responses
    asked = _turns(prompt)
    begins = [_begin(asked, chat) for chat in chats]
    if 1 < len(chats) == len(responses):
        begins = [_common(chats)] * len(chats)
    leads = [_words(chat[:begin]) for chat, begin in zip(chats, begins, strict=True)]
    ends = [chat[begin:] for chat, begin in zip(chats, begins, strict=True)]
    differ = any(one != leads[0] for one in leads if one)
    if differ or (len(chats) > 1 and any(end and end[0].role in _ASKING for end in ends)):
        raise ChatError("responses to different turns", "one prompt that all of them answer")
    rest = iter(ends)
    written = tuple(one if isinstance(one, str) else next(rest) for one in responses)
    return _joined(
        prompt, max((c[:b] for c, b in zip(chats, begins, strict=True)), key=len)
    ), written


_ASKING = ("user", "system")


def _begin(asked: Sequence[Message], chat: Sequence[Message]) -> int:
    """Where in a conversation the response to a prompt begins."""
    last = max((i for i, m in enumerate(chat) if m.role == "assistant"), default=len(chat))
    if not asked:
        before = [i + 1 for i, m in enumerate(chat[:last]) if m.role not in ("assistant", "tool")]
        return max(before, default=0) if last < len(chat) else last
    at = _find(_words(asked), _words(chat[:last]))
    begin = 0 if at is None else at + len(asked)
    while begin < len(chat) and chat[begin].role not in ("assistant", "tool"):
        begin += 1
    return begin


def _common(chats: Sequence[Sequence[Message]]) -> int:
    """Turns that all begin with, short of the last answer of each."""
    all_words = [_words(chat) for chat in chats]
    most = min(map(len, chats))
    begin = next((i for i in range(most) if len({words[i] for words in all_words}) > 1), most)
    told = [chat for chat in chats if any(m.role == "assistant" for m in chat)]
    while begin and not all(any(m.role == "assistant" for m in chat[begin:]) for chat in told):
        begin -= 1
    return begin


def _joined(prompt: Text, lead: tuple[Message, ...]) -> Text:
    asked = _turns(prompt)
    if not lead or _find(_words(lead), _words(asked)) == len(asked) - len(lead):
        return prompt
    if not asked or _find(_words(asked), _words(lead)) is not None:
        return lead
    return (*asked, *lead)


def _turns(prompt: Text) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),) if prompt.strip() else ()
    return prompt


def _words(chat: Sequence[Message]) -> list[tuple[str, str, str]]:
    """What two turns are the same by."""
    return [
        (m.role, m.content.strip(), repr((m.model_extra or {}).get("tool_calls"))) for m in chat
    ]


def _find(part: list[tuple[str, str, str]], whole: list[tuple[str, str, str]]) -> int | None:
    """The last place where some turns stand in others."""
    for at in range(len(whole) - len(part), -1, -1):
        if whole[at : at + len(part)] == part:
            return at
    return None


def _answer(written: Text, thinking: Marks | None) -> Answer:
    if isinstance(written, str):
        return after_thought(written, thinking)
    said = [message for message in written if message.role == "assistant"]
    if not said:
        return Answer("", NO_WORDS)
    answers = [after_thought(message.content, thinking) for message in said]
    spoken = [a for a, m in zip(answers, said, strict=True) if m.content.strip()]
    words = "\n\n".join(answer.text for answer in answers if answer.text)
    if spoken and spoken[-1].reason == MID_THOUGHT:
        return spoken[-1]
    if words.strip():
        return Answer(words)
    extras = {key for message in said for key in message.model_extra or {}}
    if extras & {"tool_calls", "function_call"}:
        return Answer("", CALL_ALONE)
    thought = bool(spoken) or bool(extras & {"reasoning_content", "reasoning", "thinking"})
    return Answer("", NO_ANSWER if thought and not words else None)
