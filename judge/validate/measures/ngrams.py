"""Short character sequences that stand on one side only, and the phrases they belong to."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from judge.validate.report import Feature
from judge.validate.sample import SampledTexts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SIZES = (2, 4)
"""Two characters are a Chinese word, four a phrase or the stem of an English word."""
VOCABULARY = 20_000
READ = 3000
"""Characters read from the start and from the end of a long text."""
LONGEST = 40

_WORD = re.compile(r"[\u4e00-\u9fff]{2}|[^\W\d_]{3}")
"""What a phrase must hold to say anything to a reader."""
_LETTER = re.compile(r"[^\W\d_\u2e80-\uffef]")
"""Of a script that puts blanks between words."""
_SPACE = re.compile(r"\s+")
_DIGIT = re.compile(r"\d")


def normalise(text: str) -> str:
    """White space and digits made alike, the middle of a long text left out.

    >>> normalise("Up  12.5%")
    'Up 00.0%'
    """
    if len(text) > 2 * READ:
        text = text[:READ] + "\n" + text[-READ:]
    return _DIGIT.sub("0", _SPACE.sub(" ", text))


def normalised(texts: SampledTexts) -> SampledTexts:
    """Both sides normalised, as the other functions here expect them."""
    return texts._replace(
        chosen=[normalise(text) for text in texts.chosen],
        rejected=[normalise(text) for text in texts.rejected],
    )


def grams(text: str) -> set[str]:
    """The distinct sequences of a normalised text."""
    return {text[i : i + n] for n in SIZES for i in range(len(text) - n + 1)}


def differences(texts: SampledTexts) -> tuple[csr_matrix, list[str]]:
    """(n, V) positive where only the chosen text has the sequence, negative for the rejected.

    The values of either side sum to one, so that a longer text does not win by its length alone.
    The vocabulary is what stands on one side only most often, whichever side that is.
    """
    from scipy.sparse import csr_matrix

    only: list[tuple[set[str], set[str]]] = []
    often: Counter[str] = Counter()
    for a, b in zip(texts.chosen, texts.rejected, strict=True):
        mine, yours = grams(a), grams(b)
        both = mine & yours
        only.append((mine - both, yours - both))
        often.update(only[-1][0])
        often.update(only[-1][1])
    least = max(3, len(only) // 100)
    # Ties are broken by the text of the sequence, so that the same input gives the same result.
    kept = sorted((g for g, n in often.items() if n >= least), key=lambda g: (-often[g], g))
    place = {g: i for i, g in enumerate(kept[:VOCABULARY])}
    rows, columns, values = [], [], []
    for row, sides in enumerate(only):
        for value, side in zip((1.0, -1.0), sides, strict=True):
            found = sorted(place[g] for g in side if g in place)
            rows += [row] * len(found)
            columns += found
            values += [value / max(len(found), 1)] * len(found)
    shape = (len(only), len(place))
    return csr_matrix((values, (rows, columns)), shape=shape), list(place)


def one_sided(texts: SampledTexts, group: NDArray[np.int64], phrase: str) -> bool:
    """A stock phrase: on one side of at least a fifth of the pairs, next to never on the other.

    Counted by group, it falls on one side five standard deviations more often than on the other.
    """
    has = [np.array([phrase in text for text in s]) for s in (texts.chosen, texts.rejected)]
    rare, common = sorted(float(side.mean()) for side in has)
    if common < 0.2 or rare > 0.05 * common:
        return False
    _, place = np.unique(group, return_inverse=True)
    net = np.sign(np.bincount(place, has[0].astype(float) - has[1]))
    return bool(abs(net.sum()) >= 5 * np.sqrt(np.abs(net).sum()))


def phrases(
    texts: SampledTexts, matrix: csr_matrix, vocabulary: list[str], most: int
) -> list[Feature]:
    """The phrases that separate the sides best, grown from the sequences to their full length."""
    signs = matrix.sign()
    # How far from even a sequence falls on the two sides, in standard deviations (McNemar).
    balance = np.asarray(signs.sum(axis=0)).ravel()
    balance = balance / np.sqrt(np.maximum(np.asarray(abs(signs).sum(axis=0)).ravel(), 1))
    sides = texts.chosen, texts.rejected
    found: list[Feature] = []
    order = sorted(range(len(vocabulary)), key=lambda i: (-abs(balance[i]), -len(vocabulary[i]), i))
    for i in order[:200]:
        gram = vocabulary[i]
        if any(gram in feature.name for feature in found):
            continue
        phrase = _grow(gram, sides[0] if balance[i] > 0 else sides[1])
        if not _WORD.search(phrase) or any(feature.name in phrase for feature in found):
            continue
        has = [np.array([phrase in text for text in side]) for side in sides]
        ranks = np.sign(has[0].astype(int) - has[1].astype(int)) * np.sign(balance[i])
        found.append(
            Feature(
                name=phrase,
                chosen=float(has[0].mean()),
                rejected=float(has[1].mean()),
                auc=float(((ranks + 1) / 2).mean()),
            )
        )
        if len(found) == most:
            break
    return found


def shown(phrase: str) -> str:
    """A phrase for a reader: without blanks around it, and with a mark where it cuts a word.

    >>> shown(" own "), shown("ompared with "), shown("期待。"), shown(" amo")
    ('own', '…ompared with', '期待。', 'amo…')
    """
    first, last = ("…" if _LETTER.match(phrase[i]) else "" for i in (0, -1))
    return f"{first}{phrase.strip()}{last}"


def _grow(gram: str, texts: list[str]) -> str:
    """Add a character at either end as long as nine in ten places agree on it."""
    places = [(text, at) for text in texts if (at := text.find(gram)) >= 0]
    start, end = 0, len(gram)
    for step in (1, -1):
        while end - start < LONGEST:
            offset = end if step == 1 else start - 1
            following = Counter(
                text[at + offset] for text, at in places if 0 <= at + offset < len(text)
            )
            if not following:
                break
            character, count = following.most_common(1)[0]
            if count < 0.9 * len(places):
                break
            places = [
                (text, at)
                for text, at in places
                if 0 <= at + offset < len(text) and text[at + offset] == character
            ]
            start, end = (start, end + 1) if step == 1 else (start - 1, end)
    text, at = places[0]
    return text[at + start : at + end]
