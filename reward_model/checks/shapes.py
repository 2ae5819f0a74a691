"""Sentences understood whole: words become classes, and a row of classes is a clause or is not.

The words and the shapes are data (`clauses.toml`). What is not on the lists is not understood,
and nothing said in such a sentence is ever called wrong on the strength of its grammar.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from reward_model.checks.numbers import Number
from reward_model.checks.periods import Period

_MARKS = {",": "comma", "、": "comma", "，": "comma", "(": "open", ")": "close", ":": "colon"}
_DASHES = "-–—~～"
_NUMBERS = {"money": "m", "plain": "n", "percent": "%", "pp": "p", "times": "x", "days": "d"}
_ROLES = {
    "L": "L",
    "K": "L",
    "M": "L",
    "P": "T",
    "Q": "T",
    "N": "[mnxd%]",
    "O": "[mnxd%]",
    "C": "[mnp%xd]",
    "S": "%",
    "V": "[uw]",
}
"""Which symbols a role of a shape takes: labels, points in time, numbers, directions."""
_FIXED = {"up": "u", "down": "w"}
MOST_WORDS = 160
"""A longer sentence is not read as a whole: reports of people have none, degenerate ones do."""


class Token(NamedTuple):
    """One word, name, date, number or mark of a sentence."""

    symbol: str
    """One character: its class."""
    start: int
    end: int
    """Offsets in the report."""
    value: Period | Number | str | None
    """What it stands for: a period, a number, the key of a name."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of a sentence that was understood."""

    family: str
    """`level`, `change`, `share`, `average`, `sum`, ... as in `clauses.toml`."""
    roles: dict[str, Token]
    """Role letter to token; `basis` and `pct` keep those words of comparison that were there."""
    tokens: tuple[Token, ...]
    """All of it."""

    def has(self, language: str, name: str) -> bool:
        """Whether a word of the class `name` stands in it."""
        symbol = grammar(language).symbols.get(name)
        return any(t.symbol == symbol for t in self.tokens)


class Grammar(NamedTuple):
    """The lists of one language, compiled."""

    symbols: dict[str, str]
    """Class of words to its one character."""
    words: re.Pattern[str]
    """Finds a word of any class; the class is the name of the group."""
    skip: str
    """The symbol of what changes nothing."""
    shapes: tuple[tuple[str, re.Pattern[str]], ...]
    """Family and pattern over symbols, in the order of the file."""


@cache
def grammar(language: str) -> Grammar:
    """The grammar of `zh` or `en`."""
    raw = tomllib.loads(Path(__file__).with_name("clauses.toml").read_text(encoding="utf-8"))
    part = raw[language]
    names = [*dict.fromkeys([*part["words"], *_MARKS.values(), "dash"])]
    free = iter(chr(c) for c in range(0x100, 0x200))
    symbols = {name: _FIXED.get(name) or next(free) for name in names}
    phrases = [(p, name) for name, found in part["words"].items() for p in found]
    # The longest phrase first, so that "compared to" is not read as "to".
    phrases.sort(key=lambda row: -len(re.sub(r"\(\?:|[\[\]?|)\\]", "", row[0])))
    bounds = (r"(?<![A-Za-z](?=[A-Za-z]))", r"(?![A-Za-z])") if language == "en" else ("", "")
    groups = "|".join(
        f"(?P<{name}_{i}>{phrase.replace(' ', chr(92) + 's+')})"
        for i, (phrase, name) in enumerate(phrases)
    )
    words = re.compile(f"{bounds[0]}(?:{groups}){bounds[1]}", re.I)
    shapes = tuple(
        (family, re.compile(_compile(shape, part["parts"], symbols)))
        for family, found in part["shapes"].items()
        for shape in found
    )
    return Grammar(symbols, words, symbols["skip"], shapes)


def _compile(shape: str, parts: dict[str, str], symbols: dict[str, str]) -> str:
    """A shape as a regular expression over symbols; the n-th role `N` is the group `N_n`."""
    for _ in range(3):  # parts are made of parts
        shape = re.sub(r"\b[A-Z][a-z]+\b", lambda m: parts.get(m[0], m[0]), shape)
    count: dict[str, int] = {}

    def piece(match: re.Match[str]) -> str:
        word = match[0]
        if word in _ROLES:
            count[word] = count.get(word, 0) + 1
            return f"(?P<{word}_{count[word]}>{_ROLES[word]})"
        if word in symbols:
            return symbols[word]
        raise ValueError(f"clauses.toml: {word!r} in {shape!r} is neither a role nor a class")

    closed = shape.replace("[", "(?:").replace("]", ")?").replace("(?:", "\0").replace("(", "(?:")
    closed = closed.replace("\0", "(?:")
    return re.sub(r"[A-Za-z]+", piece, closed).replace(" ", "")


def tokenize(
    text: str,
    start: int,
    end: int,
    language: str,
    fixed: list[tuple[int, int, Period | Number | str]],
) -> list[Token] | None:
    """The tokens of `text[start:end]`, or None where a word is on no list.

    `fixed`: names, dates and numbers with their places, in order and without overlaps.
    """
    known = grammar(language)
    tokens: list[Token] = []
    place, rows = start, iter(fixed)
    ahead = next(rows, None)
    while place < end:
        if ahead is not None and place >= ahead[0]:
            if place > ahead[0]:
                return None
            tokens.append(Token(_symbol(ahead[2]), ahead[0], ahead[1], ahead[2]))
            place, ahead = ahead[1], next(rows, None)
        elif text[place].isspace():
            place += 1
        else:
            match = known.words.match(text, place, ahead[0] if ahead else end)
            if match:
                name = str(match.lastgroup).rpartition("_")[0]
                symbol, stop = known.symbols[name], match.end()
            elif text[place] in _MARKS:
                symbol, stop = known.symbols[_MARKS[text[place]]], place + 1
            elif text[place] in _DASHES:
                symbol, stop = known.symbols["dash"], place + 1
            else:
                return None
            if symbol != known.skip:
                tokens.append(Token(symbol, place, stop, None))
            place = stop
        if len(tokens) > MOST_WORDS:
            return None
    return tokens


def _symbol(value: Period | Number | str) -> str:
    if isinstance(value, Period):
        return "T"
    return _NUMBERS[value.unit] if isinstance(value, Number) else "L"


def clauses(tokens: list[Token], language: str) -> list[Clause] | None:
    """The clauses of a sentence, or None where some of it is no clause that is known."""
    known = grammar(language)
    symbols = "".join(t.symbol for t in tokens)
    between = {known.symbols[n] for n in ("comma", "and", "but") if n in known.symbols}
    ends = [i for i, s in enumerate(symbols) if s in between] + [len(symbols)]
    failed: set[int] = set()

    def parse(at: int) -> list[Clause] | None:
        if at >= len(symbols):
            return []
        if at in failed:
            return None
        # The longest clause first; no shape spans more than eight commas, so no more places to end
        # it are tried.
        for end in reversed([e for e in ends if e > at][:8]):
            for clause in _matches(known, tokens, symbols, at, end):
                after = end
                while after < len(symbols) and symbols[after] in between:
                    after += 1
                rest = parse(after)
                if rest is not None:
                    return [clause, *rest]
        failed.add(at)
        return None

    return parse(0) if symbols else None


def _matches(
    known: Grammar, tokens: list[Token], symbols: str, at: int, end: int
) -> Iterator[Clause]:
    for family, pattern in known.shapes:
        if family == "more" and at == 0:
            continue
        match = pattern.fullmatch(symbols, at, end)
        if match is None:
            continue
        roles: dict[str, Token] = {}
        for name, text in match.groupdict().items():
            if text is None:
                continue
            token = tokens[match.start(name)]
            other = roles.setdefault(name[0], token)
            if other.value != token.value:
                break  # "In 2019 ... in 2018": two dates for one role.
        else:
            yield Clause(family, roles, tuple(tokens[at:end]))
