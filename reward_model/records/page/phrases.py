"""What a page says, in the language that was asked for.

Pages are written in English, in templates and in code. Beside `NAME.html.j2` stands `NAME.zh.toml`:
English = Chinese, with `{name}` where a value goes; what many pages say stands in `base.zh.toml`.
`phrases("my.package", "NAME", "zh")` gives the one function, `say`, that reads these tables.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

PageLanguage = Literal["en", "zh"]
"""Languages that a page can be written in."""
BASE = "reward_model.records.page"
_HOLE = re.compile(r"\\\{(\w+)\\\}")
_SEPARATORS = re.compile(r"(, | and )")
_NUMBER = re.compile(r"[-+−]?[\d.,%–]+")
_VALUE = r"(?:“[^”]*”|\[[^\]]*\]|(?<=\d),(?=\d)|[^,;:])+?"
"""Something that is no list: a quotation or an interval, whatever it holds, and a number."""
_FEWEST = 3
"""Letters of its own that an entry needs, to be found by a sentence that fits it."""
_SENTENCE, _OPENING = 15, 6
"""Letters in all, or before its first value, from which an entry's values may be lists."""
_JOINTS = {"; ": "；", ", ": "、", " and ": "和"}


class Phrases:
    """A table of English -> one other language; called with English, it says the other.

    `names`: names of the data (dimensions, degradations) and how people call them.
    """

    def __init__(
        self,
        language: PageLanguage = "en",
        table: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.language, self.table, self.names = language, dict(table or {}), dict(names or {})
        self._said: dict[str, str] = {}

    def __call__(self, english: str, /, **values: object) -> str:
        """The phrase; English where the table has none.

        With `values`, `english` is a key of the table whose `{name}`s they fill. Without, it may
        also be a whole sentence that code made earlier: the key that it fits is found.

        >>> say = Phrases("zh", {"{n} pairs of {d}": "{d}：{n} 对"}, {"depth": "分析深度"})
        >>> say("{n} pairs of {d}", n=3, d="depth"), say("12 pairs of depth and style")
        ('分析深度：3 对', '分析深度和style：12 对')
        >>> say("no such phrase"), Phrases()("{n} pairs", n=3)
        ('no such phrase', '3 pairs')
        """
        if self.language == "en":
            return english.format(**values) if values else english
        if values:
            said = {key: self._part(str(value)) for key, value in values.items()}
            return self.table.get(english, english).format(**said)
        if english not in self._said:
            self._said[english] = self._sentence(english)
        return self._said[english]

    def name(self, name: str) -> str:
        """What people call a dimension or a degradation; its key on an English page."""
        return self.names.get(name, name)

    def _sentence(self, english: str) -> str:
        known = self.table.get(english) or self._known(english)
        if known is not None:
            return known
        parts = english.split("; ")
        said = [self._known(part) for part in parts] if len(parts) > 1 else []
        found = [one or part for one, part in zip(said, parts, strict=False)]
        return "；".join(found) if any(said) else self._part(english)

    def _known(self, english: str) -> str | None:
        """What an entry says, or one that the sentence fits."""
        found = self.names.get(english) or self.table.get(english)
        if found is not None:
            return found
        for pattern, key in self._patterns:
            if fits := pattern.fullmatch(english):
                parts = {name: self._part(part or "") for name, part in fits.groupdict().items()}
                return self.table[key].format(**parts)
        return None

    def _part(self, english: str) -> str:
        """A value within a sentence: another phrase, or a list in which some words are known."""
        known = self._known(english) if english else english
        if known is not None:
            return known
        pieces = re.split("(; )", english) if "; " in english else _SEPARATORS.split(english)
        if len(pieces) == 1:
            return self._numbered(english)
        said = [self._part(piece) if i % 2 == 0 else piece for i, piece in enumerate(pieces)]
        if said == pieces:
            return english
        return "".join(
            _JOINTS.get(piece, piece) if i % 2 else piece for i, piece in enumerate(said)
        )

    def _numbered(self, english: str) -> str:
        """A name before anything, names with a slash between, or a known phrase before a number."""
        ends = english.split("/")
        if len(ends) > 1 and all(end.partition(" ")[0] in self.names for end in ends):
            return "/".join(map(self._numbered, ends))
        name, space, rest = english.partition(" ")
        if name in self.names:
            return self.names[name] + space + rest
        phrase, space, number = english.rpartition(" ")
        if phrase in self.table and _NUMBER.fullmatch(number):
            return self.table[phrase] + space + number
        return english

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Entries with values; those known by their beginning, and longer ones, first."""
        letters = {key: _letters(key) for key in self.table if "{" in key}
        keys = sorted(letters, key=lambda key: (not _opens(key), -letters[key]))
        return [(_pattern(key), key) for key in keys if letters[key] >= _FEWEST]


def phrases(
    package: str, name: str, language: PageLanguage, names: Mapping[str, str] | None = None
) -> Phrases:
    """The phrases of the page `package/templates/NAME.html.j2`."""
    if language == "en":
        return Phrases()
    return Phrases(
        language, _table(BASE, "base", language) | _table(package, name, language), names
    )


def _letters(key: str) -> int:
    """How much an entry says itself."""
    return sum(map(str.isalpha, re.sub(r"\{\w+\}", "", key)))


def _opens(key: str) -> bool:
    """Whether an entry is known by its beginning."""
    return _letters(key.partition("{")[0]) >= _OPENING


def _pattern(key: str) -> re.Pattern[str]:
    seen: set[str] = set()
    lists = _opens(key) or _letters(key) >= _SENTENCE

    def hole(found: re.Match[str]) -> str:
        name = found[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{'.+?' if lists else _VALUE})"

    return re.compile(_HOLE.sub(hole, re.escape(key)), re.DOTALL)


@lru_cache
def _table(package: str, name: str, language: str) -> dict[str, str]:
    file = files(package) / "templates" / f"{name}.{language}.toml"
    return phrases_of(file) if file.is_file() else {}


def phrases_of(file: Traversable) -> dict[str, str]:
    """A table as it stands in a file: English -> the other language."""
    return tomllib.loads(file.read_text("utf-8"))
