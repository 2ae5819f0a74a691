"""Texts taken apart: the same words or sentences in an order that says nothing.

`shuffle_words(text, rng)`, `shuffle_sentences(text, rng)` and `salad(text, rng)` keep what a text
is made of and lose what it says; the audit's probes and counterexamples in training use them.
"""

from __future__ import annotations

import random
import re

from reward_model.records.texts import SENTENCE_END

_ENDS = ("。", "！", "？", "；", ".", "!", "?", ";")
_WORDS = re.compile(r"\d+(?:[.,]\d+)*[%％]?|[\u3400-\u9fff]|(?:(?![\u3400-\u9fff])[^\W\d_])+")
"""Whole numbers, single Chinese characters, words of other scripts."""


def sentences(line: str) -> list[str]:
    """A line in sentences; a point inside a number ends none.

    >>> sentences("增长10.5%。成本下降。"), sentences("Up 10.5% on 2020. Costs fell.")
    (['增长10.5%。', '成本下降。'], ['Up 10.5% on 2020.', 'Costs fell.'])
    """
    return [part.strip() for part in SENTENCE_END.split(line) if part.strip()]


def shuffle_words(text: str, rng: random.Random) -> str:
    """The same words, each somewhere else; punctuation and lines stay.

    >>> shuffle_words("Costs fell, so margins rose by 2.5%.", random.Random(0))
    'rose so, fell Costs by margins 2.5%.'
    """
    found = list(_WORDS.finditer(text))
    words = [match.group() for match in found]
    rng.shuffle(words)
    return _refilled(text, found, words)


def salad(text: str, rng: random.Random) -> str:
    """Words of the text drawn at random, any of them again and again; as many as there were.

    >>> salad("Costs fell, so margins rose.", random.Random(0))
    'rose margins, so fell so.'
    """
    found = list(_WORDS.finditer(text))
    known = list(dict.fromkeys(match.group() for match in found))
    return _refilled(text, found, rng.choices(known, k=len(found)) if known else [])


def shuffle_sentences(text: str, rng: random.Random) -> str:
    """The same sentences, each somewhere else; titles, tables and the like stay.

    >>> shuffle_sentences("# Title\\nOne. Two. Three.\\nFour.", random.Random(1))
    '# Title\\nFour. One. Three.\\nTwo.'
    """
    prose = [line.rstrip().endswith(_ENDS) for line in text.split("\n")]
    lines = [sentences(line) for line in text.split("\n")]
    every = [part for parts, said in zip(lines, prose, strict=True) if said for part in parts]
    before = list(every)
    for _ in range(8):  # of a few sentences some orders by chance are the old one
        rng.shuffle(every)
        if every != before:
            break
    left = iter(every)
    out = []
    for line, parts, said in zip(text.split("\n"), lines, prose, strict=True):
        new = [next(left) for _ in parts] if said else []
        told = "".join(part + ("" if part[-1] in "。！？；" else " ") for part in new).rstrip()
        out.append(told if said else line)
    return "\n".join(out)


def _refilled(text: str, places: list[re.Match[str]], words: list[str]) -> str:
    out, end = [], 0
    for place, word in zip(places, words, strict=True):
        out += [text[end : place.start()], word]
        end = place.end()
    return "".join([*out, text[end:]])
