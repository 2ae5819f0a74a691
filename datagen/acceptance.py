"""What a reply has to be before it becomes a side of a pair.

`problem(...)` returns why a reply is not accepted, in a few words that can be counted, or None.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files

from reward_model.llm import Reply
from reward_model.records.chat.marks import answer_of, has_marks

MIN_CHARS = 80
_TAG = re.compile(r"</?[a-z_]+-[0-9a-f]{8}>|</?(?:report|statements|task|severity|kind|focus)>")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")


@cache
def _words() -> dict[str, list[str]]:
    text = (files("datagen") / "leaks.toml").read_text("utf-8")
    return {key: [w.casefold() for w in words] for key, words in tomllib.loads(text).items()}


def clean(text: str) -> str:
    """A reply without thoughts, chat marks and the code fence that some models put around a whole
    document; empty where it is still thinking.

    >>> clean("<think>hm</think>```markdown\\n# Report\\nSales rose.\\n```<|im_end|>")
    '# Report\\nSales rose.'
    """
    text = (answer_of(text) or "").strip()
    fenced = re.fullmatch(r"```(?:markdown|md|text)?\n(.*)\n```", text, re.S)
    return fenced[1].strip() if fenced and "```" not in fenced[1] else text


def problem(
    reply: Reply,
    language: str,
    *,
    original: str | None = None,
    length_ratio: tuple[float, float] | None = None,
    names: tuple[str, ...] = (),
    min_chars: int = MIN_CHARS,
) -> str | None:
    """Why a reply is not accepted; None when it is.

    Args:
        original: the text it is an edit of; the reply must differ from it.
        length_ratio: accepted length relative to the original.
        names: words of the instructions, such as the name of a degradation, that must not show.
        min_chars: shortest text that is one.
    """
    text = clean(reply.text)
    if reply.finish_reason == "length" or answer_of(reply.text) is None:
        return "truncated"
    if not text:
        return "empty"
    if has_marks(text):
        return "chat marks leaked"
    folded = text.casefold()
    opening = folded[:200]
    if any(word in opening for word in _words()["refusal"]) and len(text) < 600:
        return "refusal"
    if len(text) < min_chars:
        return "too short"
    if _TAG.search(text):
        return "section boundary leaked"
    known = (original or "").casefold()
    leaked = [*_words()["instruction"], *(name.casefold() for name in names)]
    if any(word in folded and word not in known for word in leaked):
        return "instruction leaked"
    edges = folded[:160] + "\n" + folded[-160:]
    if any(word in edges and word not in known for word in _words()["preamble"]):
        return "preamble or note"
    if spoken(text) != language:
        return "wrong language"
    if original is not None:
        if _squeeze(text) == _squeeze(original):
            return "same as the original"
        if length_ratio is not None:
            ratio = len(text) / max(1, len(original))
            low, high = length_ratio
            if not low <= ratio <= high:
                return "length out of range"
    return None


def spoken(text: str) -> str:
    """The language of a text: zh where Chinese characters outweigh words in Latin letters.

    >>> spoken("2021年营业收入增长12%，ROE回升。"), spoken("Revenue rose 12% in FY2021.")
    ('zh', 'en')
    """
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    return "zh" if han * 2 > latin else "en"


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)
