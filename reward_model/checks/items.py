"""Statement lines and derived ratios: their names in both languages and their formulas.

The list itself is data (`items.toml` beside this file), read once on first use.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

ItemKind = Literal["flow", "stock", "ratio"]
ItemUnit = Literal["money", "percent", "times", "days", "per_share"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a statement, or one ratio derived from such lines."""

    key: str
    """Canonical name in code, e.g. `revenue`."""
    zh: tuple[str, ...]
    """Chinese names; the first is the one to display."""
    en: tuple[str, ...]
    """English names; the first is the one to display."""
    kind: ItemKind
    """`flow` covers a period, `stock` stands at a date, `ratio` is derived."""
    unit: ItemUnit
    """What the value is: money, a percentage, a multiple, days, or money a share."""
    formula: tuple[str, ...] = ()
    """How it follows from other items; the first is the usual convention, the rest are
    accepted as well. Empty for lines that are only ever read."""

    def name(self, language: str) -> str:
        """The display name.

        >>> find_item("营收").name("en")
        'Revenue'
        """
        return self.zh[0] if language == "zh" else self.en[0]


@cache
def items() -> dict[str, Item]:
    """All items by key.

    >>> items()["gross_margin"].formula[0]
    '(revenue - cost_of_sales) / revenue'
    """
    raw = tomllib.loads(Path(__file__).with_name("items.toml").read_text(encoding="utf-8"))
    return {
        key: Item(
            key=key,
            zh=tuple(row["zh"]),
            en=tuple(row["en"]),
            kind=row["kind"],
            unit=row["unit"],
            formula=tuple(row.get("formula", ())),
        )
        for key, row in raw.items()
    }


CAN_BE_NEGATIVE = frozenset(
    {
        "net_profit",
        "operating_profit",
        "profit_before_tax",
        "parent_net_profit",
        "operating_cash_flow",
        "investing_cash_flow",
        "financing_cash_flow",
        "net_change_in_cash",
        "free_cash_flow",
    }
)
"""Lines for which a loss or an outflow in words makes the amount negative."""

_NUMBERING = re.compile(
    r"^(?:[（(]?[一二三四五六七八九十]{1,3}[)）]?[、.．]|"
    r"[（(][一二三四五六七八九十\d]{1,2}[)）]|\d{1,2}[、.．](?!\d))\s*"
)
_PREFIX = re.compile(r"^(?:加|减|其中|Add|Less|Including|Of which)\s*[:：]\s*", re.I)
_FOOTNOTE = re.compile(r"\s*(?:\(\d{1,2}\)|\[\d{1,2}\]|[*†‡]+)\s*$")
_PARENTHESES = re.compile(r"\s*[（(][^（()）]*[)）]\s*")
_SPACE = re.compile(r"\s+")


@cache
def clean_label(label: str) -> str:
    """A row label without numbering, 加/减 signs, footnotes and doubled spaces.

    >>> clean_label("  二、减：营业成本 ")
    '营业成本'
    """
    text = _SPACE.sub(" ", label.replace("\u3000", " ").replace("’", "'").replace("‘", "'")).strip(
        " *#:：-–—"
    )
    for _ in range(2):
        text = _PREFIX.sub("", _NUMBERING.sub("", text))
    return _FOOTNOTE.sub("", text).strip(" *:：")


@cache
def item_names() -> dict[str, Item]:
    """Every name (casefolded) of every item. An earlier item keeps a name two items share."""
    names: dict[str, Item] = {}
    for item in items().values():
        for name in (*item.zh, *item.en):
            names.setdefault(name.casefold(), item)
    return names


@cache
def find_item(label: str) -> Item | None:
    """The item a table label names, or None.

    Numbering, signs, footnotes and a bracketed unit or scope are ignored; anything else has to
    be a known name, so that `华东营业收入` is not taken for the company's revenue.

    >>> find_item("一、营业收入（万元）").key
    'revenue'
    >>> find_item("Inventories, net (1)").key
    'inventory'
    >>> find_item("华东营业收入") is None
    True
    """
    names = item_names()
    text = clean_label(label).casefold()
    found = names.get(text)
    if found is None:
        text = _PARENTHESES.sub("", text).strip()
        found = names.get(text) or names.get(text.removesuffix("余额").removesuffix("金额"))
    return found
