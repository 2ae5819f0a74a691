"""The writer's sentences: said from their slots, and recognised again in a text.

Slots are in `phrases.LANGUAGE.toml`, what is known of the fields in `fields.LANGUAGE.toml`.
"""

from __future__ import annotations

import random
import re
import tomllib
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, NamedTuple

_PLAIN = {"words", "heading", "areas"}


class Found(NamedTuple):
    """A recognised sentence."""

    slot: str
    """`role.name`."""
    values: dict[str, str]
    lead: str
    """The connecting word in front, if any."""

    @property
    def role(self) -> str:
        """What the sentence does: figure, trend, cause1, ..."""
        return self.slot.split(".")[0]


class _Pattern(NamedTuple):
    slot: str
    literal: str
    regex: re.Pattern[str]


@cache
def read_toml(name: str) -> dict[str, Any]:
    """A data file of this folder."""
    return tomllib.loads((files("reward_model.llm.offline") / name).read_text("utf-8"))


class Phrases:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        data = read_toml(f"phrases.{language}.toml")
        self.language = language
        self.words: dict[str, Any] = data["words"]
        self.heading: dict[str, list[str]] = data["heading"]
        self.fields: dict[str, Any] = read_toml(f"fields.{language}.toml")
        self.slots: dict[str, list[str]] = {
            f"{role}.{name}": lines
            for role, slots in data.items()
            if role not in _PLAIN
            for name, lines in slots.items()
        }
        known = [self.fields, *(f for f in self.fields.values() if "industry" in f)]
        self._patterns = [
            _pattern(slot, line, language, self.words, known)
            for slot, lines in self.slots.items()
            for line in lines
        ]
        self._known: dict[str, Found | None] = {}

    def say(self, slot: str, rng: random.Random, **values: str) -> str:
        """One of the ways to say a slot, among those that need no more than `values`."""
        ways = [line for line in self.slots[slot] if _needs(line) <= values.keys()]
        if not ways:
            raise KeyError(slot)
        text = rng.choice(ways).format_map(values)
        return text[0].upper() + text[1:] if self.language == "en" else text

    def recognise(self, sentence: str) -> Found | None:
        """The slot a sentence was said from; None for one from elsewhere."""
        if sentence not in self._known:
            if len(self._known) > 20_000:
                self._known.clear()
            self._known[sentence] = self._recognise(sentence)
        return self._known[sentence]

    def _recognise(self, sentence: str) -> Found | None:
        text = sentence.replace("**", "").strip()
        lead = next((w for w in self.words["connectors"] if text.startswith(w)), "")
        body = text[len(lead) :]
        folded = body.casefold()
        for slot, literal, regex in self._patterns:
            if literal in folded and (match := regex.fullmatch(body)):
                return Found(slot, self._inside(match.groupdict()), lead)
        return None

    def _inside(self, values: dict[str, str]) -> dict[str, str]:
        """Values as inside a sentence: a capital that began one goes, an acronym stays."""
        if self.language == "zh":
            return values
        return {
            key: v[0].lower() + v[1:] if key in _NAMES and v[1:2].islower() else v
            for key, v in values.items()
        }

    def again(self, found: Found, rng: random.Random) -> str:
        """The same thing in one of its other wordings."""
        return self.join(found.lead, self.say(found.slot, rng, **found.values))

    def join(self, lead: str, sentence: str) -> str:
        """A connecting word and a sentence."""
        if not lead or self.language == "zh":
            return lead + sentence
        keep = sentence[:2].isupper() or not sentence[:1].isalpha()
        return lead + (sentence if keep else sentence[0].lower() + sentence[1:])

    @cached_property
    def areas(self) -> dict[str, str]:
        """Heading words -> area of analysis."""
        known = read_toml("metrics.toml")["areas"]
        return {w.casefold(): area for area in known for w in self.heading[area]}


@cache
def phrases(language: str) -> Phrases:
    """The sentences of a language, read once."""
    return Phrases(language)


@cache
def _needs(line: str) -> frozenset[str]:
    return frozenset(re.findall(r"\{(\w+)\}", line))


_VALUE = re.compile(r"\\\{(\w+)\\\}")
_PERIOD = {
    "zh": r"\d{4}年(?:第.季度|.半年|\d+(?:-\d+)?月)?",
    "en": r"(?:[A-Z][A-Za-z0-9]+ )?(?:FY)?\d{4}",
}
_FIGURE = (
    r"(?:[A-Z]{3} )?-?\d[\d,]*(?:\.\d+)?"
    r"(?:%|亿元|万元|元/股|个百分点|倍|天"
    r"| (?:million|billion|percentage points?|times|days|yuan a share))?"
)
_FIGURES = {"v", "v0", "v1", "v2", "v3", "va", "vb", "g", "d", "ag", "bg", "pp"}
_PERIODS = {"y", "p", "y1", "p1", "p2", "p3"}
_CHOICES = {
    "dir": "up_money down_money up_ratio down_ratio up_level down_level flat_level",
    "swing": "turned_positive turned_negative loss_narrowed loss_widened",
    "shape": "rising falling peak dip",
    "pos": "above inside below",
}
_CHOICES |= {"adir": _CHOICES["dir"], "bdir": _CHOICES["dir"]}
_CLAUSES = {"good", "bad"}
_NAMES = {"item", "a", "b", "base", "effect", "term"}


def _pattern(
    slot: str, line: str, language: str, words: dict[str, Any], fields: list[dict[str, Any]]
) -> _Pattern:
    """What a sentence of a slot looks like: figures, periods and directions have known forms."""
    literal = max(re.split(r"\{\w+\}", line.casefold()), key=len)
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        if name in _PERIODS:
            inner = _PERIOD[language]
        elif name in _FIGURES:
            inner = _FIGURE
        elif name in _CHOICES:
            inner = "|".join(re.escape(words[key]) for key in _CHOICES[name].split())
        elif name in _CLAUSES:
            clauses = [*fields[0][name].values(), words[f"no_{name}"]]
            inner = "|".join(re.escape(clause) for clause in clauses)
        elif name == "range":
            inner = r"[\d.]+%?\s?[-—]\s?[\d.]+\s?(?:%|倍|times)?"
        elif name == "industry":
            inner = "|".join(re.escape(field["industry"]) for field in fields[1:])
        elif name in _NAMES:
            inner = "[^，。；：,;:÷＝]{2,70}?" if language == "en" else "[^，。；：÷＝]{2,24}?"
        else:
            inner = ".+?"
        return f"(?P<{name}>{inner})"

    return _Pattern(slot, literal, re.compile(_VALUE.sub(group, re.escape(line)), re.I))
