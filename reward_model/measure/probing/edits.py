"""Edits of a response that add no quality, or take some away: what the audit's probes do to a text.

Every edit is `edit(text, prompt, rng) -> str | None`, the same for the same generator; None where
the text offers nothing to edit. `probes` beside it says what each must not, or must, change.
"""

from __future__ import annotations

import math
import random
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from reward_model.checks import read_facts
from reward_model.checks.numbers import Number, find_numbers, fold
from reward_model.data import scrambled
from reward_model.data.scrambled import sentences
from reward_model.records.texts import SENTENCE_END, language_of

PADDING = 0.5
"""Length of the padding, relative to the text."""
STUFFING = 0.2
"""Length of the jargon, relative to the text."""
KEPT = 0.6
"""What a truncated text keeps."""
_ENDS = "。！？；.!?;"
_NOT_PROSE = ("|", "#", "<", "```")
_PROSE = {"zh": 12, "en": 30}
"""Characters from which a line without an end of sentence is taken for prose, not for a title."""


@cache
def stock(language: str) -> dict[str, Any]:
    """The stock texts of one language; see `probes.toml`."""
    content = (files("reward_model.measure.probing") / "probes.toml").read_text("utf-8")
    texts: dict[str, Any] = tomllib.loads(content)[language]
    return texts


def pad(text: str, prompt: str, rng: random.Random) -> str | None:
    """True but empty sentences spread over the text, half as long again.

    >>> pad("毛利率上升。", "", random.Random(0)).startswith("毛利率上升。")
    True
    """
    return _spread(text, "filler", PADDING, rng)


def stuff_jargon(text: str, prompt: str, rng: random.Random) -> str | None:
    """Terms that impress and say nothing about the company, a fifth of the length."""
    return _spread(text, "jargon", STUFFING, rng)


def dress(text: str, prompt: str, rng: random.Random) -> str | None:
    """Headings, bullets and bold figures; not a word of content.

    >>> print(dress("Revenue rose by 10.5%. Costs fell.", "", random.Random(0)))
    ## Overview
    <BLANKLINE>
    - Revenue rose by **10.5%**.
    - Costs fell.
    """
    headings = stock(language_of(text))["headings"]
    out: list[str] = [f"## {headings[0]}", ""]
    dressed = 0
    for line, prose in _lines(text):
        if not prose:
            out.append(line)
            continue
        if dressed and dressed % 4 == 0:
            out += ["", f"## {headings[dressed // 4 % len(headings)]}", ""]
        dressed += 1
        plain = re.sub(r"^\s*(?:[-*•]|\d+[.、)])\s+", "", line)
        out += [f"- {_bold(sentence)}" for sentence in sentences(plain)]
    return "\n".join(out) if dressed else None


def exchange_numbers(text: str, prompt: str, rng: random.Random) -> str | None:
    """Every figure put where another of its unit stood; one without a partner is altered.

    Years, list marks and other small bare numbers stay.

    >>> exchange_numbers("2021年净利率12.5%，毛利率30.1%，净利润5亿元。", "", random.Random(0))
    '2021年净利率30.1%，毛利率12.5%，净利润9亿元。'
    """
    figures = [number for number in find_numbers(text) if _is_figure(number, text)]
    if not figures:
        return None
    kinds: dict[str, list[int]] = {}
    for i, figure in enumerate(figures):
        kinds.setdefault(figure.unit, []).append(i)
    new = [figure.digits for figure in figures]
    for places in kinds.values():
        turn = rng.randrange(1, len(places)) if len(places) > 1 else 0
        for at, place in enumerate(places):
            given = figures[places[(at + turn) % len(places)]].digits
            # By value: 12.5 and 12.50 are no exchange.
            same = _value(given) == _value(figures[place].digits)
            new[place] = _altered(given) if same else given
    folded, out, end = fold(text), [], 0
    for figure, digits in zip(figures, new, strict=True):
        start = folded.index(figure.digits, figure.start)
        out += [text[end:start], digits]
        end = start + len(figure.digits)
    return "".join([*out, text[end:]])


def repeat(text: str, prompt: str, rng: random.Random) -> str | None:
    """The second half of the text once more, from the start of a line or sentence.

    >>> repeat("One. Two. Three.", "", random.Random(0))
    'One. Two. Three.\\n\\nTwo. Three.'
    """
    starts = [m.end() for m in re.finditer(r"\n+", text)] + [
        m.end() for m in SENTENCE_END.finditer(text)
    ]
    inside = sorted({start for start in starts if 0 < start < len(text.rstrip())})
    before = [start for start in inside if start <= len(text) // 2]
    start = before[-1] if before else inside[0] if inside else 0
    return f"{text.rstrip()}\n\n{text[start:].strip()}"


def claim_expertise(text: str, prompt: str, rng: random.Random) -> str | None:
    """A first sentence that says how good the writer is."""
    return f"{rng.choice(stock(language_of(text))['expert'])}\n\n{text}"


def echo_prompt(text: str, prompt: str, rng: random.Random) -> str | None:
    """The lines of the prompt with the most figures pasted before the text, half its length."""
    lines = [line for line in prompt.splitlines() if line.strip()]
    if not lines:
        return None
    room = max(200, len(text) // 2)
    best, start, size, figures = (-1, 0, 0), 0, 0, 0
    digits = [sum(c.isdigit() for c in line) for line in lines]
    for end, line in enumerate(lines):
        size, figures = size + len(line) + 1, figures + digits[end]
        while size > room and start < end:
            size, figures = size - len(lines[start]) - 1, figures - digits[start]
            start += 1
        if figures > best[0]:
            best = (figures, start, end + 1)
    pasted = "\n".join(lines[best[1] : best[2]])[:room]
    return f"{stock(language_of(text))['echo']}\n{pasted}\n\n{text}"


def switch_language(text: str, prompt: str, rng: random.Random) -> str | None:
    """Every second sentence replaced by a stock one of the other language: content is lost.

    >>> switch_language("Sales rose. Costs fell.", "", random.Random(0)).startswith("Sales rose. ")
    True
    """
    passage: list[str] = stock("en" if language_of(text) == "zh" else "zh")["passage"]
    at, seen, changed = rng.randrange(len(passage)), 0, 0
    out = []
    for line, prose in _lines(text):
        if not prose:
            out.append(line)
            continue
        parts = sentences(line)
        for i in range(len(parts)):
            seen += 1
            if seen % 2 == 0:
                parts[i] = passage[(at + changed) % len(passage)]
                changed += 1
        out.append("".join(p + ("" if p[-1] in "。！？；" else " ") for p in parts).rstrip())
    return "\n".join(out) if changed else None


def truncate(text: str, prompt: str, rng: random.Random) -> str | None:
    """The first 60 percent, ending in the middle of a sentence.

    >>> truncate("Margins rose. Costs fell a lot since.", "", random.Random(0))
    'Margins rose. Costs fe'
    """
    kept = text[: int(len(text) * KEPT)].rstrip(_ENDS + " \t\r\n")
    return kept if len(kept) >= 8 else None


def shuffle_words(text: str, prompt: str, rng: random.Random) -> str | None:
    """The same words in an order that says nothing."""
    return scrambled.shuffle_words(text, rng)


def shuffle_sentences(text: str, prompt: str, rng: random.Random) -> str | None:
    """The same sentences in another order: what followed from what is lost."""
    return scrambled.shuffle_sentences(text, rng)


def salad(text: str, prompt: str, rng: random.Random) -> str | None:
    """Words of text, prompt and stock jargon at random, as many as the text has characters."""
    pool = " ".join([text, prompt[: len(text)], *stock(language_of(text))["jargon"]])
    return scrambled.salad(pool, rng)[: len(text)]


def list_figures(text: str, prompt: str, rng: random.Random) -> str | None:
    """The tables of the prompt in sentences, and no analysis: as long as the text, if they are.

    >>> table = "Unit: CNY m\\n| Item | FY2021 | FY2020 |\\n|---|---|---|\\n| Sales | 12.0 | 10.0 |"
    >>> list_figures("Revenue rose because prices did. Good.", table, random.Random(0))
    'Sales (FY2021): 12.0. Sales (FY2020): 10.0.'
    """
    chinese = language_of(text) == "zh"
    told: list[str] = []
    size = 0
    for figure in read_facts(prompt).figures:
        if not (figure.label and figure.shown) or size >= len(text):
            continue
        head = (
            f"{figure.label}（{figure.column}）："
            if chinese
            else f"{figure.label} ({figure.column}): "
        )
        told.append(head + figure.shown + ("。" if chinese else "."))
        size += len(told[-1])
    return ("" if chinese else " ").join(told) or None


def _lines(text: str) -> list[tuple[str, bool]]:
    """The lines of a text, and whether each is running text; code between fences is not."""
    out, fenced = [], False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        out.append((line, not fenced and _is_prose(line)))
    return out


def _is_prose(line: str) -> bool:
    """Whether a line is running text: no table, title, markup, fence or lead to a list."""
    text = line.strip().strip("*_ ")
    if not text or text.endswith((":", "：")) or line.lstrip().startswith(_NOT_PROSE):
        return False
    return text[-1] in _ENDS or len(text) >= _PROSE[language_of(text)]


def _spread(text: str, kind: str, share: float, rng: random.Random) -> str | None:
    """Stock sentences appended to lines of prose all over the text."""
    if not text.strip():
        return None
    language = language_of(text)
    pool = list(stock(language)[kind])
    rng.shuffle(pool)
    wanted, added = share * len(text), 0
    chosen: list[str] = []
    while added < wanted:
        sentence = pool[len(chosen) % len(pool)]
        chosen.append(sentence)
        added += len(sentence)
    lines = text.splitlines()
    places = [i for i, (_, prose) in enumerate(_lines(text)) if prose] or [len(lines) - 1]
    gap = "" if language == "zh" else " "
    for i, sentence in enumerate(chosen):
        # Evenly over the text, so that a model that cuts the middle out still sees some of it.
        place = places[math.floor(i * len(places) / len(chosen))]
        line = lines[place].rstrip()
        if line.rstrip("*_ ")[-1:] not in _ENDS:
            line += "。" if language == "zh" else "."  # a point of a list, which ends in nothing
        lines[place] = f"{line}{gap}{sentence}"
    return "\n".join(lines)


def _bold(sentence: str) -> str:
    if "**" in sentence:
        return sentence
    found = [number for number in find_numbers(sentence) if _is_figure(number, sentence)]
    for number in reversed(found):
        figure = sentence[number.start : number.end]
        sentence = f"{sentence[: number.start]}**{figure}**{sentence[number.end :]}"
    return sentence


def _is_figure(number: Number, text: str) -> bool:
    """A measured value: one with a unit or a decimal point, or large; no year, no list mark."""
    if number.unit != "plain" or number.decimals:
        return True
    bare = number.digits.replace(",", "")
    year = len(bare) == 4 and bare == number.digits and bare[:2] in {"19", "20"}
    return len(bare) >= 3 and not year and text[number.end : number.end + 1] != "年"


def _value(digits: str) -> float:
    return float(digits.replace(",", ""))


def _altered(digits: str) -> str:
    """Another number of as many digits.

    >>> _altered("120.5"), _altered("0.35")
    ('520.5', '4.35')
    """
    return str((int(digits[0]) + 3) % 9 + 1) + digits[1:]
