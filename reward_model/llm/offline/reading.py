"""How the embedded judge reads a report: sentences, and the vocabulary found in each.

`read_report(text)` drops markup, tables and headings, splits the rest into sentences and says
which of them make a statement about the company.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

_CODE_FENCE = re.compile(r"^\s*(?:```|~~~)[\w-]*\s*$", re.M)
_DROPPED = re.compile(r"<(script|style|table|pre)\b.*?</\1\s*>", re.S | re.I)
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
# A figure with its unit, or one too long to be the number of a level or a section.
_QUANTITY = re.compile(
    r"\d+\.\d|\d,\d{3}|\d{3}|\d\s*(?:[%％]|亿|万|千|百|元|倍|天|个|pp|bps|times|days|point|x\b"
    r"|million|billion|thousand|[mb]n\b)"
)
_DATE = re.compile(r"(?:FY ?)?(?:19|20)\d{2}(?:[-/.]\d{1,2})?|[QH][1-4]|\d{1,2}(?=月|日|个月)")
_HAN = re.compile(r"[\u3400-\u9fff]")
_WORDS = re.compile(r"[\u3400-\u9fff]|[A-Za-z]+")


class Lexicon:
    """One list of the vocabulary, ready to search with."""

    def __init__(self, chinese: Iterable[str], english: Iterable[str]) -> None:
        """Both lists hold regular expressions; those in English match whole words."""
        # Longest first, so that a word inside a longer one is not found in its place.
        anywhere = sorted(chinese, key=len, reverse=True)
        latin = re.sub(r"(?<=\w)\*", r"\\w*", "|".join(sorted(english, key=len, reverse=True)))
        words = rf"(?<!\w)(?:{latin})(?!\w)"
        self._pattern = re.compile("|".join([*anywhere, words]), re.I)
        # What has a Han character in it is not looked for in a text that has none.
        bare = [word for word in anywhere if not _HAN.search(word)]
        self._without_han = re.compile("|".join([*bare, words]), re.I)
        # Sentences come back: in the next dimension, and in the other report of the pair.
        self.first = lru_cache(maxsize=4096)(self._first)

    def _find(self, text: str) -> Iterator[re.Match[str]]:
        return (self._pattern if _HAN.search(text) else self._without_han).finditer(text)

    def _first(self, text: str) -> int | None:
        """Where the first of them stands."""
        return next((match.start() for match in self._find(text)), None)

    def count(self, text: str) -> int:
        """How often words of the list occur."""
        return sum(1 for _ in self._find(text))

    def distinct(self, text: str) -> set[str]:
        """Which words of the list occur, in lower case."""
        return {match.group().lower() for match in self._find(text)}

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.first(text) is not None


class Report(NamedTuple):
    """A report as the judge reads it."""

    text: str
    """Without markup."""
    statements: tuple[str, ...]
    """Sentences that say something of the company: a quantity, an item, an area."""

    def figures(self) -> tuple[str, ...]:
        """Statements that give a figure; the number of a year or a quarter is none."""
        return tuple(s for s in self.statements if _DIGIT.search(_DATE.sub("", s)))

    def blurred(self) -> tuple[str, ...]:
        """Statements with a vague word where a figure could stand."""
        sharp = set(self.figures())
        return tuple(s for s in self.statements if s not in sharp and s in lexicon("vague"))

    def areas(self) -> dict[str, int]:
        """Statements by the area each speaks of first."""
        found: dict[str, int] = {}
        for sentence in self.statements:
            places = [(lexicon(f"areas.{name}").first(sentence), name) for name in areas()]
            known = [(at, name) for at, name in places if at is not None]
            if known:
                name = min(known)[1]
                found[name] = found.get(name, 0) + 1
        return found

    def spread(self) -> float:
        """How many areas the text is spread over: 4.0 is four areas in equal parts."""
        counts = self.areas().values()
        return math.exp(-sum(n / sum(counts) * math.log(n / sum(counts)) for n in counts))

    def told(self) -> tuple[str, ...]:
        """Statements that describe a movement or a cause; all of them where none does."""
        told = (s for s in self.statements if s in lexicon("trend") or s in lexicon("cause"))
        return tuple(told) or self.statements

    def analysed(self, name: str) -> float:
        """Share of those with a word of a list."""
        told = self.told()
        return sum(s in lexicon(name) for s in told) / len(told) if told else 0.0

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

    >>> sorted(lexicon("cause").distinct("Margins fell because coal, driven by exports, rose"))
    ['because', 'driven by']
    """
    entry: object = _vocabulary()
    for part in name.split("."):
        assert isinstance(entry, Mapping)
        entry = entry[part]
    assert isinstance(entry, Mapping)
    return Lexicon(entry["zh"], entry["en"])


def areas() -> tuple[str, ...]:
    """Names of the areas a full analysis covers."""
    entry = _vocabulary()["areas"]
    assert isinstance(entry, Mapping)
    return tuple(entry)


@lru_cache(maxsize=64)
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
    if _QUANTITY.search(_DATE.sub("", sentence)) or sentence in lexicon("subject"):
        return True
    return any(sentence in lexicon(f"areas.{name}") for name in areas())
