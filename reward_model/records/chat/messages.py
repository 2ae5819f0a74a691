"""Chat messages, however a program writes them, as roles and texts.

`as_messages([{"from": "human", "value": "Margins?"}])` gives messages with the usual roles; what is
no text, such as an image, is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

FORM = 'a string or chat messages [{"role": ..., "content": ...}]'
"""What is expected where a text is."""
ROLES = {
    "human": "user",
    "prompter": "user",
    "developer": "system",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "environment": "tool",
}
"""Other names of roles -> the usual one; a role that is not known stays as it is."""
_WORDLESS = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "refusal")
"""Keys of a message that explain why it has no content."""
_TEXT = {"text", "input_text", "output_text"}
_SILENT = {
    "thinking",
    "redacted_thinking",
    "reasoning",
    "tool_use",
    "tool_call",
    "tool_result",
    "function_call",
}
"""Parts of a content that are not said: thoughts, and calls of tools."""
_NAMES = {
    "image": "an image",
    "image_url": "an image",
    "input_image": "an image",
    "image_file": "an image",
    "audio": "a sound",
    "audio_url": "a sound",
    "input_audio": "a sound",
    "video": "a video",
    "video_url": "a video",
    "file": "a file",
    "input_file": "a file",
    "document": "a file",
}


class ChatError(ValueError):
    """Messages that cannot be read as texts."""

    def __init__(self, found: str, expected: str = FORM) -> None:
        self.found, self.expected = found, expected
        super().__init__(f"{found}; expected {expected}")


class Message(BaseModel):
    """One chat message, as in TRL's conversational format; `name`, `tool_calls` and whatever else
    it has is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: str
    content: str


def as_messages(value: Any) -> Any:
    """A list of messages in their one form; a string and what is neither stay as they are.

    Roles are mapped (`developer` is `system`, `gpt` is `assistant`), `from` and `value` are `role`
    and `content`, parts of a content that are text are joined, and no content is an empty one.

    >>> as_messages([{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}])
    (Message(role='system', content='Be brief.'),)

    Raises:
        ChatError: a message without role or content, or with something that is no text.
    """
    if isinstance(value, str | bytes | Mapping) or value is None:
        return value
    if not isinstance(value, Sequence):
        if not hasattr(value, "tolist"):  # an array, as Parquet gives a list to pandas
            return value
        value = value.tolist()
        if not isinstance(value, list):
            return value
    return tuple(_message(raw, at) for at, raw in enumerate(value, 1))


Text = Annotated[str | tuple[Message, ...], BeforeValidator(as_messages)]
"""Plain text, or chat messages."""


def as_text(text: Text) -> str:
    """Plain text of a prompt or response; the contents of several messages are joined.

    >>> as_text((Message(role="user", content="Hi"), Message(role="assistant", content="Yes")))
    'Hi\\n\\nYes'
    """
    if isinstance(text, str):
        return text
    return "\n\n".join(message.content for message in text if message.content)


def as_turns(text: Text, role: str = "user") -> list[dict[str, str]]:
    """Roles and contents, as a chat template takes them; plain text is a turn of `role`.

    >>> as_turns("Margins?")
    [{'role': 'user', 'content': 'Margins?'}]
    """
    if isinstance(text, str):
        return [{"role": role, "content": text}]
    return [{"role": message.role, "content": message.content} for message in text]


def is_chat(text: Text) -> bool:
    """Messages, not plain text."""
    return not isinstance(text, str)


def _message(raw: Any, at: int) -> Message:
    if isinstance(raw, Message):
        return raw
    if not isinstance(raw, Mapping):
        short = repr(raw)
        raise ChatError(f"{short if len(short) <= 60 else short[:57] + '...'} as message {at}")
    named = next((key for key in ("role", "from") if raw.get(key) is not None), "role")
    role = raw.get(named)
    if not isinstance(role, str) or not role.strip():
        raise ChatError(f"no role in message {at}")
    held = next((key for key in ("content", "value") if key in raw), None)
    rest = {k: v for k, v in raw.items() if k not in (named, held) and v is not None}
    if held is None and not any(key in rest for key in _WORDLESS):
        raise ChatError(f"no content in message {at}")
    kind = role.strip().lower()
    content = _content(None if held is None else raw[held], at)
    if kind == "function_call":  # the call of a tool, written as a turn
        rest, content = {**rest, "function_call": content}, ""
    elif not content and isinstance(rest.get("refusal"), str):
        content = rest["refusal"]
    # Looked at already. Half of a character, which no model can read, is a scorer's to tell.
    message = Message.model_construct(role=ROLES.get(kind, kind), content=content)
    assert message.__pydantic_extra__ is not None
    message.__pydantic_extra__.update({str(key): value for key, value in rest.items()})
    return message


def _content(content: Any, at: int) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence) and hasattr(content, "tolist"):
        content = content.tolist()
    if not isinstance(content, Sequence):
        raise ChatError(f"content of type {type(content).__name__} in message {at}")
    parts = (_part(part, f"part {n} of message {at}") for n, part in enumerate(content, 1))
    return "\n".join(part for part in parts if part)


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise ChatError(f"{type(part).__name__} as {where}")
    kind = part.get("type") or ("text" if "text" in part else "unknown")
    if kind in _SILENT or part.get("thought") is True:
        return ""
    if kind == "refusal":
        return str(part.get("refusal") or "")
    if kind not in _TEXT:
        found = _NAMES.get(str(kind), f"content of type {str(kind)[:40]!r}")
        raise ChatError(f"{found} ({where})", "text: nothing else is read")
    text = part.get("text")
    text = text.get("value") if isinstance(text, Mapping) else text
    if not isinstance(text, str):
        raise ChatError(f"no text in {where}")
    return text
