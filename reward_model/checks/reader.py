"""All tables of a prompt read: figures, currency and the period it calls current."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from reward_model.checks.figures import Figure
from reward_model.checks.flatten import flatten
from reward_model.checks.frame import figures_of
from reward_model.checks.owners import owned
from reward_model.checks.periods import Period, parse_period
from reward_model.checks.tables import read_blocks
from reward_model.checks.units import currency_in

_CURRENT = re.compile(r"(?:当前期|报告期|本期)\s*[:：]\s*(\d{6}|(?:19|20)\d{2}年?(?:\d{1,2}月)?)")

_BLOCKS: dict[tuple[object, Period | None], tuple[list[Figure], str]] = {}
"""Figures of tables read before: prompts about one company repeat their tables."""
_BLOCKS_KEPT = 4096


class Prompt(NamedTuple):
    """What was read of a prompt."""

    figures: list[Figure]
    """Every number of its tables."""
    currency: str
    """ISO code, where one is named."""
    current: Period | None
    """The period it calls current."""
    prose: str
    """What stands outside its tables."""


def read_prompt(prompt: str) -> Prompt:
    """All figures of a prompt, the currency it names, the period it calls current, its prose."""
    flat = flatten(prompt)
    match = _CURRENT.search(flat)
    current = parse_period(match[1]) if match else None
    blocks = list(read_blocks(flat))
    # A fenced table among others is a sample of the layout asked for.
    if any(not b.fenced for b in blocks):
        blocks = [b for b in blocks if not b.fenced]
    read: list[tuple[tuple[str, ...], list[Figure]]] = []
    currency, prose, place = "", [], 0
    for block in blocks:
        key = (block.key, current)
        known = _BLOCKS.get(key)
        if known is None:
            table = block.table()
            known = (figures_of(table, current), table.currency) if table else ([], "")
            if len(_BLOCKS) >= _BLOCKS_KEPT:
                _BLOCKS.clear()
            _BLOCKS[key] = known
        read.append((block.headings, known[0]))
        currency = currency or known[1]
        prose.append(flat[place : block.lines[0][0]])
        place = block.lines[-1][0] + len(block.lines[-1][1])
    prose.append(flat[place:])
    if not currency:
        sample = flat[:20000]
        currency = currency_in(sample) or ("CNY" if re.search(r"[\u4e00-\u9fff]", sample) else "")
    figures = _to_the_fen(owned(read))
    return Prompt(figures, currency, current, "\n".join(prose))


def _to_the_fen(figures: Sequence[Figure]) -> list[Figure]:
    """Amounts written to the fen are yuan, though no line says so.

    Books in thousands or millions have no two decimals in every cell and nine digits before
    them in some.
    """
    open_ = [f for f in figures if not f.known and f.unit == "money"]
    if open_ and max(abs(f.value) for f in open_) >= 1e8:
        exact = sum(f.step == 0.01 for f in open_)
        if exact >= 0.8 * len(open_) and len(open_) >= 3:
            return [f if f.known else f._replace(known=True) for f in figures]
    return list(figures)
