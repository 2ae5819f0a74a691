"""A policy's decoded text taken apart: prompt and response, by a chat template that was declared.

`split_query(query, prompt, load_template("chatml"))` gives what was asked and what was answered.
A text that does not fit what was declared is refused: nothing about a template is ever guessed.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reward_model.records import Message, Text, UserError
from reward_model.records.chat.thoughts import without_thought
from reward_model.records.settings import read_settings

Mark = Annotated[str, Field(pattern=r"\S")]
"""What a template writes between texts; a blank one would be found everywhere."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(_Strict):
    """How the turn of one role is written."""

    open: Mark
    """What stands before its content: ``<|im_start|>user\\n``."""
    close: Mark
    """What ends it: ``<|im_end|>``."""


class ChatTemplate(_Strict):
    """The turn markers of a policy's chat template.

    Without turns only `start` and `end` are taken off, and the prompt says where the response
    begins.
    """

    turns: dict[str, Turn] = {}
    """Role -> its markers; `assistant` has to be there if any is."""
    start: tuple[Mark, ...] = ()
    """What may stand once before the first turn, such as ``<|begin_of_text|>``."""
    end: tuple[Mark, ...] = ()
    """What may stand after the response, beside the assistant's own close."""
    thinking: tuple[Mark, Mark] | None = None
    """Marks around a thought that may come first in a response, beside those that are known; it is
    not part of what is judged."""

    @model_validator(mode="after")
    def _assistant(self) -> ChatTemplate:
        if self.turns and "assistant" not in self.turns:
            raise ValueError("no turn of the assistant, who gives the response")
        return self


def _chatml(*, thinking: tuple[str, str] | None = None) -> ChatTemplate:
    roles = ("system", "user", "assistant", "tool")
    return ChatTemplate(
        turns={r: Turn(open=f"<|im_start|>{r}\n", close="<|im_end|>") for r in roles},
        end=("<|endoftext|>",),
        thinking=thinking,
    )


TEMPLATES: dict[str, ChatTemplate] = {
    "chatml": _chatml(),
    "qwen": _chatml(thinking=("<think>", "</think>")),
    "llama3": ChatTemplate(
        turns={
            role: Turn(open=f"<|start_header_id|>{role}<|end_header_id|>\n\n", close="<|eot_id|>")
            for role in ("system", "user", "assistant", "tool", "ipython")
        },
        start=("<|begin_of_text|>",),
        end=("<|end_of_text|>",),
    ),
    "none": ChatTemplate(),
}
"""Templates known by name. `none` declares plain text, whatever it looks like."""

_SPECIAL = re.compile(
    r"<\|[^\s|<>]{1,40}\|>|<｜[^\s｜<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|\A\s*<(?:s|bos)>|</s>\s*\Z|<(?:eos|pad)>"
)
"""What looks like a token of some chat template. `<s>` is one only where a text begins: within it
is HTML."""


def load_template(name: str | None) -> ChatTemplate | None:
    """A template by name, or from a TOML file with the keys of `ChatTemplate`.

    >>> load_template("llama3").start
    ('<|begin_of_text|>',)

    Raises:
        UserError: no such name or file, or a file with other keys.
    """
    if name is None:
        return None
    if name in TEMPLATES:
        return TEMPLATES[name]
    if not name.endswith(".toml"):
        raise UserError(
            f"chat template {name!r}", expected=f"{', '.join(TEMPLATES)} or a TOML file"
        )
    keys = "turns.ROLE.open and .close, start, end, thinking; no mark that is blank"
    found = read_settings(name, ChatTemplate, keys)
    if found == ChatTemplate():
        raise UserError(
            "a chat template without any mark",
            expected=keys,
            mend="name the template none, where the policy has none",
            path=Path(name),
        )
    return found


def split_query(query: str, prompt: str | None, template: ChatTemplate | None) -> tuple[Text, str]:
    """What was asked and what was answered, from a policy's prompt and response in one text.

    Args:
        query: both together, with the tokens of the policy's template in it.
        prompt: its beginning as it was given to the policy, or the text of its last user turn;
            None or empty where it is not known.
        template: as declared; None where nothing was.

    >>> chat = "<|im_start|>user\\nMargins?<|im_end|>\\n<|im_start|>assistant\\nUp.<|im_end|>"
    >>> split_query(chat, None, TEMPLATES["chatml"])
    ('Margins?', 'Up.')
    >>> split_query("Margins? Up.", "Margins?", None)
    ('Margins?', ' Up.')

    Raises:
        UserError: the text does not fit the template, or needs one and none was declared.
    """
    if template is None:
        _refuse_specials(query, "no chat template was declared", "declare it with --chat-template")
        return _split_plain(query, prompt, ChatTemplate())
    if not template.turns:
        return _split_plain(query, prompt, template)
    return _split_turns(query, prompt or None, template)


def plain_response(text: str, template: ChatTemplate | None) -> str:
    """A response that stands alone, where no turns were declared.

    Raises:
        UserError: it holds special tokens, and nothing was declared that writes them.
    """
    if template is None:
        _refuse_specials(text, "no chat template was declared", "declare it with --chat-template")
        return text
    response = _without_end(_without_start(text, template), template.end)
    return without_thought(response, template.thinking)


def _split_plain(query: str, prompt: str | None, template: ChatTemplate) -> tuple[str, str]:
    if not prompt:
        raise UserError(
            "a query without its prompt",
            expected="the prompt as well, to know where the response begins",
            mend="send prompts, or declare the policy's --chat-template",
        )
    body, begin = _without_start(query, template), _without_start(prompt, template)
    if not body.startswith(begin):
        raise UserError("a query that does not begin with its prompt", expected="prompt + response")
    response = _without_end(body[len(begin) :], template.end)
    return begin, without_thought(response, template.thinking)


def _split_turns(query: str, prompt: str | None, template: ChatTemplate) -> tuple[Text, str]:
    body = _without_start(query, template)
    assistant = template.turns["assistant"]
    given = None if prompt is None else _without_start(prompt, template)
    if given is None or not body.startswith(given):
        begin = body.rfind(assistant.open)
    # The policy wrote all that follows: no marker in it can move where the response begins.
    elif _ends_open(given, template):
        begin = given.rfind(assistant.open)
    else:  # an opening may begin within the prompt, if its last line break was left out
        begin = body.find(assistant.open, max(0, len(given) - len(assistant.open) + 1))
    if begin < 0:
        raise UserError(
            "a query without a turn of the assistant",
            expected=f"{assistant.open!r} before the response, as the chat template declares",
        )
    messages = _turns(body[:begin], template)
    if messages and messages[-1].role == "assistant":
        raise UserError(
            "two turns of the assistant in a row",
            expected="one response",
            mend="send prompts as well, to know where it begins",
        )
    if given is not None and not body.startswith(given):
        _check_last(messages, given.strip())
    response = _response(body[begin + len(assistant.open) :], template)
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content, response
    return (tuple(messages) if messages else ""), response


def _check_last(messages: list[Message], prompt: str) -> None:
    """A prompt that is plain text has to be the last turn before the response, and no other."""
    if not messages or messages[-1].content.strip() != prompt:
        raise UserError("a query that does not begin with its prompt", expected="prompt + response")
    if any(
        asked.content.strip() == prompt and answered.role == "assistant"
        for asked, answered in pairwise(messages)
    ):
        raise UserError(
            "a query in which the prompt was answered before",
            expected="one turn that is the prompt",
            mend="send prompts as the policy read them, to know where the response begins",
        )


def _ends_open(prompt: str, template: ChatTemplate) -> bool:
    """Whether a prompt ends in an opened turn of the assistant."""
    assistant = template.turns["assistant"]
    at = prompt.rfind(assistant.open)
    return at >= 0 and assistant.close not in prompt[at + len(assistant.open) :]


def _turns(text: str, template: ChatTemplate) -> list[Message]:
    messages: list[Message] = []
    rest = text.lstrip()
    while rest:
        found = [(r, t) for r, t in template.turns.items() if rest.startswith(t.open)]
        if not found:
            raise UserError(
                f"text outside of any turn, after {len(messages)} of them",
                expected="only turns, as the chat template declares",
            )
        role, turn = max(found, key=lambda one: len(one[1].open))
        content, close, rest = rest[len(turn.open) :].partition(turn.close)
        if not close:
            raise UserError(f"a turn of the {role} without an end", expected=repr(turn.close))
        _refuse_specials(content, f"it is in turn {len(messages) + 1}", "", template)
        messages.append(Message(role=role, content=content))
        rest = rest.lstrip()
    return messages


def _response(text: str, template: ChatTemplate) -> str:
    response = _without_end(text, (template.turns["assistant"].close, *template.end))
    response = without_thought(response, template.thinking)
    _refuse_specials(response, "it is in the response", "", template)
    return response


def _refuse_specials(text: str, why: str, mend: str, template: ChatTemplate | None = None) -> None:
    marks = [] if template is None else [m for t in template.turns.values() for m in (t.open,)]
    found = next((m for m in marks if m in text), None) or _SPECIAL.search(text)
    if found:
        token = found if isinstance(found, str) else found[0]
        raise UserError(
            f"{token.strip()!r}, which looks like a special token; {why}",
            expected="text of prompt and response alone",
            mend=mend or "declare the template that writes it: --chat-template",
        )


def _without_start(text: str, template: ChatTemplate) -> str:
    for mark in template.start:
        if text.startswith(mark):
            return text[len(mark) :]
    return text


def _without_end(text: str, marks: tuple[str, ...]) -> str:
    """Text without the end marks it ends in, however many; its own last spaces stay."""
    rest = text
    while True:
        bare = rest.rstrip()
        mark = next((m.rstrip() for m in marks if bare.endswith(m.rstrip())), None)
        if mark is None:
            return rest
        rest = bare[: -len(mark)]
