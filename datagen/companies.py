"""A company with its statements: those that ship, and how any of them is put into tables."""

from __future__ import annotations

import csv
import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from datagen.fields import data_folder
from reward_model.checks import items

STATEMENTS = ("income_statement", "balance_sheet", "cash_flow")
TITLES = {
    "zh": ("利润表", "资产负债表", "现金流量表"),
    "en": ("Income statement", "Balance sheet", "Cash flow statement"),
}
UNITS = {
    "zh": (("万元", 1e4, 2), ("百万元", 1e6, 2)),
    "en": (("CNY million", 1e6, 2), ("CNY thousand", 1e3, 1)),
}
"""Unit line, yuan a unit, decimals shown."""

Figures = dict[str, dict[str, float]]
"""Item -> period -> value in yuan; a missing figure has no entry."""


@dataclass(frozen=True, slots=True)
class Company:
    """A company and what is known of it."""

    id: str
    """Stock code, or a name of its own; groups everything made from this company."""
    name: dict[str, str]
    """By language."""
    field: str
    industry: dict[str, str] = dataclasses.field(default_factory=dict)
    statements: tuple[Figures, ...] = ()
    """Income statement, balance sheet, cash flow."""
    synthetic: bool = False
    """Invented by this package; its statements are made when they are needed."""
    tables: str = ""
    """Statements of one's own as Markdown, used as they stand."""
    prompt: str = ""
    """A whole prompt of one's own, used as it stands."""
    language: str | None = None
    """The only language it can be used in; None for any."""

    def periods(self) -> list[str]:
        """Periods, the latest first."""
        found = {p for figures in self.statements for values in figures.values() for p in values}
        return sorted(found, reverse=True)


def label_of(period: str, language: str) -> str:
    """A column header: years get the word for year, anything else stays as it is.

    >>> label_of("2021", "zh"), label_of("2021", "en"), label_of("2025Q1", "zh")
    ('2021年', 'FY2021', '2025Q1')
    """
    if len(period) == 4 and period.isdigit():
        return f"{period}年" if language == "zh" else f"FY{period}"
    return period


def markdown(company: Company, language: str, unit: int = 0) -> str:
    """The statements as Markdown tables, each with its unit line; a missing figure is a dash."""
    if company.tables:
        return company.tables
    word, scale, decimals = UNITS[language][unit % len(UNITS[language])]
    periods = company.periods()
    out = []
    for title, figures in zip(TITLES[language], company.statements, strict=False):
        rows = [item for item in figures if figures[item]]
        if not rows:
            continue
        head = "项目" if language == "zh" else "Item"
        colon = "：" if language == "zh" else ": "
        lines = [
            f"### {title}",
            f"{'单位' if language == 'zh' else 'Unit'}{colon}{word}",
            "",
            f"| {head} | " + " | ".join(label_of(p, language) for p in periods) + " |",
            "|---" + "|---:" * len(periods) + "|",
        ]
        for item in rows:
            share = items()[item].unit == "per_share"
            name = items()[item].name(language)
            if share:
                name += "（元/股）" if language == "zh" else " (CNY)"
            shown = [figures[item].get(p) for p in periods]
            cells = [
                "-" if v is None else f"{v:.2f}" if share else f"{v / scale:,.{decimals}f}"
                for v in shown
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        out.append("\n".join(lines))
    return "\n\n".join(out)


@cache
def shipped() -> tuple[Company, ...]:
    """The real companies that ship, in the order of their file."""
    folder = data_folder() / "statements"
    figures: dict[str, dict[str, Figures]] = {}
    for statement in STATEMENTS:
        for row in _rows(folder / f"{statement}.csv"):
            code, year = row.pop("code"), row.pop("year")
            known = figures.setdefault(code, {}).setdefault(statement, {})
            for item, value in row.items():
                values = known.setdefault(item, {})
                if value:
                    values[year] = float(value)
    return tuple(
        Company(
            id=row["code"],
            name={"zh": row["name_zh"], "en": row["name_en"]},
            field=row["field"],
            industry={"zh": row["industry_zh"], "en": row["industry_en"]},
            statements=tuple(figures[row["code"]][s] for s in STATEMENTS),
        )
        for row in _rows(folder / "companies.csv")
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
