"""Figures made wrong, and figures made vague."""

from __future__ import annotations

import random
import re
from typing import Any

from reward_model.llm.offline.phrases import Found

_VAGUE = {
    "figure.money": "vague.money",
    "figure.ratio": "vague.ratio",
    "figure.level": "vague.level",
    "figure.swing": "vague.swing",
    "figure.pair": "vague.pair",
    "trend.three": "vague.three",
    "cause1.pair": "vague.pair_cause",
    "counter.metric": "vague.metric",
    "sensitivity.pp": "vague.pp",
    "benchmark.range": "vague.range",
    "formula.ratio": "vague.formula",
    "crosscheck.ok": "vague.ok",
    "crosscheck.bad": "vague.bad",
}
_YEAR = re.compile(r"(?:FY)?(?:19|20)\d{2}年?(?:度|末)?")
_PERCENT = re.compile(r"-?\d[\d,.]*\s?(?:%|个百分点|percentage points?)")
_MONEY = re.compile(
    r"(?:[A-Z]{3}\s)?-?\d[\d,.]*\s?(?:亿元|万元|元|million|billion|(?=，|。|,\s|\.\s|\s))"
)
_TIMES = re.compile(r"-?\d[\d,.]*\s?(?:倍|天|times|days|x)")


def vague_slot(found: Found | None) -> str:
    """The slot that says a sentence without its figures; empty where there is none."""
    return _VAGUE.get(found.slot, "") if found is not None else ""


def blur_number(sentence: str, words: dict[str, Any], rng: random.Random) -> str:
    """A sentence from elsewhere with its figures replaced one by one.

    >>> words = {k: [k] for k in ("vague_percent", "vague_times", "vague_money", "vague_period")}
    >>> blur_number("2021年费用率为12.3%。", words, random.Random(0))
    'vague_period费用率为vague_percent。'
    """
    for pattern, key in (
        (_YEAR, "vague_period"),
        (_PERCENT, "vague_percent"),
        (_TIMES, "vague_times"),
        (_MONEY, "vague_money"),
    ):
        sentence = pattern.sub(lambda _, key=key: str(rng.choice(words[key])), sentence)  # type: ignore[misc]
    return sentence


def perturb(digits: str, rng: random.Random) -> str:
    """Other digits in the same dress: clearly another value, of the same length.

    >>> perturb("12.34", random.Random(1)) != "12.34"
    True
    """
    value = float(digits.replace(",", ""))
    decimals = len(digits.partition(".")[2])
    plain = digits.replace(",", "")
    for _ in range(20):
        if rng.random() < 0.4 and len(plain.replace(".", "")) > 1:
            places = [i for i, ch in enumerate(plain) if ch.isdigit()]
            i, j = rng.sample(places[:3], 2)
            chars = list(plain)
            chars[i], chars[j] = chars[j], chars[i]
            new = float("".join(chars))
        else:
            new = value * rng.choice([0.62, 0.71, 0.83, 0.88, 1.14, 1.23, 1.37, 1.52])
        shown = f"{new:,.{decimals}f}" if "," in digits else f"{new:.{decimals}f}"
        if len(shown) == len(digits) and abs(new - value) > 0.05 * abs(value):
            return shown
    return f"{value * 1.3 + 1:.{decimals}f}"
