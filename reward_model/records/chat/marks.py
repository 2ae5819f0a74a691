"""Marks of chat templates in a model's words: thoughts, turns, tokens, of every known family.

`answer_of(reply)` is what a reply says, without thoughts and marks; None where it never got to an
answer.
"""

from __future__ import annotations

import json
import re

from reward_model.records.chat.thoughts import KNOWN

_TAG = re.compile("<([a-z:]+)>")
_NAMES = [tag[1] for begin, _ in KNOWN if (tag := _TAG.fullmatch(begin))]
_NAME = "|".join([*_NAMES, "thoughts", "reasoning"])
_PAIRS = [pair for pair in KNOWN if not _TAG.fullmatch(pair[0]) and pair[1] != "<|end|>"]
_THOUGHT = re.compile(
    rf"(?P<open><(?:{_NAME})>|{'|'.join(re.escape(begin) for begin, _ in _PAIRS)}"
    r"|<unused94>(?:thought)?)"
    rf"|(?P<close></(?:{_NAME})>|{'|'.join(re.escape(end) for _, end in _PAIRS)}|<unused95>)"
)
"""Thoughts of Qwen, DeepSeek, GLM, Kimi, Seed, Magistral, Command A, Gemma and MedGemma; those of
gpt-oss are messages of a channel."""
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)[^<]*<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.S,
)
"""A message of gpt-oss; only those of the channel `final` are for the reader."""
_BARE_CHANNELS = re.compile(r"\A\s*(?:assistant)?(?:analysis|commentary).*assistantfinal", re.S)
"""The same where a server took the tokens out and left their words."""
_HEAD = re.compile(
    r"\A\s*(?:(?:<\|(?:im_start|start_header_id|start|assistant|im_assistant|header_start|Bot"
    r"|begin_of_text|START_OF_TURNCHAT_MARK|CHATBOTCHAT_MARK|START_RESPONSE|begin_of_solution"
    r"|start_of_role|startoftext)\|>|<start_of_turn>|<\|turn>|<｜Assistant｜>"
    r"|<｜begin▁of▁sentence｜>|<s>(?!.*</s>\s*\S)|<bos>|\[/INST\]|\[gMASK\]|<sop>|\]~b\]|\]~!b\[)\s*)+"
    r"(?:(?:assistant|model|ai)\b)?(?:<\|(?:end_header_id|im_sep|im_middle|header_end"
    r"|end_of_role|message)\|>)?\s*",
    re.S,
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end_of_text|endoftext|end|return|eot|end_of_turn|endofturn"
    r"|END_OF_TURNCHAT_MARK|END_RESPONSE|end_of_solution|EOT|eos|user|observation|im_start"
    r"|start_header_id|im_user|header_start|start_of_role|eom|fim_pad|file_sep)\|>"
    r"|<end_of_turn>|<start_of_turn>|<turn\|>|<\|turn>|<eos>|<pad>|<eoa>|<eoh>"
    r"|<｜(?:end▁of▁sentence|User|EOT)｜>|\[e~\[|</s>(?=\s*(?:\Z|<s>|\[INST\]))"
)
"""What ends a turn, or begins the next one that a model without its stop token runs on into."""
_FENCE = re.compile(r"```(?:json)?\n(.*)\n```", re.S)
CHAT_MARK = re.compile(
    r"</?\|[\w:.\-]{1,40}\|>|<\|(?:turn|channel|tool|tool_call|tool_response|think|image)>"
    r"|<(?:turn|channel|tool|tool_call|tool_response|image)\|>|<｜[^\s｜<>]{1,40}｜>"
    r"|\[/?(?:INST|THINK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT"
    r"|ARGS|CALL_ID|PREFIX|SUFFIX|MIDDLE|IMG)\]|<</?SYS>>|</?(?:start|end)_of_turn>"
    rf"|◁/?[\w▁]+▷|</?(?:{_NAME})>"
    r"|<(?:unused|reserved_|SPECIAL_|extra_id_)\d+>"
)


def answer_of(text: str) -> str | None:
    """What a reply says: without thoughts, without marks of turns; None where it is still thinking.

    A chat template may open the thought itself: then the reply has the closing mark alone. A reply
    that is one JSON value has no marks, whatever its strings hold.

    >>> answer_of("hm</think>\\n\\nUp.<|im_end|>"), answer_of("<think>Down? Let me")
    ('Up.', None)
    >>> answer_of("<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
    ...           "<|channel|>final<|message|>Up.<|return|>")
    'Up.'
    """
    if "<|channel|>" in text:
        found = [m["text"] for m in _CHANNEL.finditer(text) if m["channel"] == "final"]
        if not found:
            return None
        text = found[-1]
    elif bare := _BARE_CHANNELS.match(text):
        text = text[bare.end() :]
    text = _HEAD.sub("", text)
    if _is_json(bare_text := _without_tail(text)):
        return bare_text
    said = _without_thoughts(text)
    if said is None:
        return None
    if said != text:
        said = _HEAD.sub("", said).lstrip()
    if _is_json(bare_text := _without_tail(said)):
        return bare_text
    end = _END.search(said)
    return said[: end.start()].rstrip() if end else said


def _without_thoughts(text: str) -> str | None:
    parts: list[str] = []
    at, thinking = 0, False
    for mark in _THOUGHT.finditer(text):
        if mark["close"]:
            if not thinking:
                parts = []  # what came before is the end of a thought
            at, thinking = mark.end(), False
        elif not thinking:
            parts.append(text[at : mark.start()])
            thinking = True
    return None if thinking else "".join([*parts, text[at:]])


def _without_tail(text: str) -> str:
    """A text without the marks at its very end."""
    bare = text.rstrip()
    ends = list(_END.finditer(bare))
    if not ends or ends[-1].end() < len(bare):
        return text
    while ends and ends[-1].end() == len(bare):
        bare = bare[: ends.pop().start()].rstrip()
    return bare


def _is_json(text: str) -> bool:
    """Whether a text is one JSON value, in a code fence or not."""
    bare = text.strip()
    if fenced := _FENCE.fullmatch(bare):
        bare = fenced[1].strip()
    if not bare.startswith(("{", "[")):
        return False
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def has_marks(text: str) -> bool:
    """Whether a text holds what only chat templates write.

    >>> has_marks("up<|fim_suffix|>"), has_marks("| <5% | >5% ||")
    (True, False)
    """
    return CHAT_MARK.search(text) is not None
