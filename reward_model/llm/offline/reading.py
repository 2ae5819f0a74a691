"""How the embedded judge reads a report: sentences, and the vocabulary found in each.

`read_report(text)` drops markup, tables and headings, splits the rest into sentences and says
which of them make a statement about the company.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_CODE_FENCE = re.compile(r"^\s*(?:```|~~~)[\w-]*\s*$", re.M)
_DROPPED = re.compile(r"<(script|style)\b.*?</\1\s*>", re.S | re.I)
_BLOCK_TAG = re.compile(
    r"</?(?:p|div|li|ul|ol|h[1-6]|br|hr|section|article|blockquote|pre|t[rdh]|table|thead|tbody)\b"
    r"[^<>]{0,2000}>?",
    re.I,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>|</(?=[A-Za-z]*\b)[A-Za-z]*>?")
_MARKS = re.compile(
    r"^[ \t]*(?:#{1,6}|[-*+•·]|>|\(?\d{1,2}[.)、](?!\d)|[（(][一二三四五六七八九十\d]+[）)])[ \t]*",
    re.M,
)
_ROW = re.compile(r"^\s*\|.*\|\s*$|\|.*\|", re.M)
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t].*|[一二三四五六七八九十]{1,3}、[^。；\n]{0,40})$", re.M
)
_END = re.compile(r"[。！？；!?;\n]+|\.(?=\s|$)")
_DIGIT = re.compile(r"\d")
_WORDS = re.compile(r"[\u3400-\u9fff]|[A-Za-z]+")


class Lexicon(NamedTuple):
    """One list of the vocabulary, ready to search with."""

    pattern: re.Pattern[str]

    def count(self, text: str) -> int:
        """How often words of the list occur."""
        return sum(1 for _ in self.pattern.finditer(text))

    def distinct(self, text: str) -> set[str]:
        """Which words of the list occur, in lower case."""
        return {match.group().lower() for match in self.pattern.finditer(text)}

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.pattern.search(text) is not None


class Report(NamedTuple):
    """A report as the judge reads it."""

    text: str
    """Without markup."""
    statements: tuple[str, ...]
    """Sentences that say something of the company: a figure, a movement, an item."""

    def share(self, *lexicons: str) -> float:
        """Share of statements with a word of any of these lists."""
        if not self.statements:
            return 0.0
        return self.hits(*lexicons) / len(self.statements)

    def hits(self, *lexicons: str) -> int:
        """Statements with a word of any of these lists."""
        own = [lexicon(name) for name in lexicons]
        return sum(any(s in words for words in own) for s in self.statements)


@cache
def _vocabulary() -> Mapping[str, object]:
    path = files("reward_model.llm.offline") / "judge_terms.toml"
    return tomllib.loads(path.read_text("utf-8"))


@cache
def lexicon(name: str) -> Lexicon:
    """A list of the vocabulary by name, `areas.growth` for a nested one.

    >>> lexicon("cause").distinct("Margins fell because coal, driven by exports, rose")
    {'driven by', 'because'} == lexicon("cause").distinct("driven by it, because of it")
    """
    entry: object = _vocabulary()
    for part in name.split("."):
        assert isinstance(entry, Mapping)
        entry = entry[part]
    assert isinstance(entry, Mapping)
    # Longest first, so that a word inside a longer one is not found in its place.
    chinese = sorted(entry["zh"], key=len, reverse=True)
    english = sorted(entry["en"], key=len, reverse=True)
    latin = re.sub(r"(?<=\w)\*", r"\\w*", "|".join(english))
    return Lexicon(re.compile(f"{'|'.join(chinese)}|(?<![\\w])(?:{latin})(?![\\w])", re.I))


def areas() -> tuple[str, ...]:
    """Names of the areas a full analysis covers."""
    entry = _vocabulary()["areas"]
    assert isinstance(entry, Mapping)
    return tuple(entry)


def read_report(text: str) -> Report:
    """Take a report apart.

    >>> read_report("# Profit\\n\\n| a | 1 |\\n\\nThe gross margin fell. **Thank you.**").statements
    ('The gross margin fell',)
    """
    text = _CODE_FENCE.sub("", text)
    text = _DROPPED.sub(" ", text)
    text = _TAG.sub("", _BLOCK_TAG.sub("\n", text))
    text = _HEADING.sub("", text)
    prose = _MARKS.sub("", _ROW.sub("", text)).replace("*", "").replace("`", "")
    sentences = [part.strip() for part in _END.split(prose)]
    return Report(prose, tuple(s for s in sentences if _is_statement(s)))


def _is_statement(sentence: str) -> bool:
    if len(_WORDS.findall(sentence)) < 4:
        return False
    if _DIGIT.search(sentence) or sentence in lexicon("trend"):
        return True
    return any(sentence in lexicon(f"areas.{name}") for name in areas())
