"""From the tables of a prompt to figures: which cell is which item, period, measure and scope."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from reward_model.checks.columns import Header, Measure, Scope, read_header, scope_of
from reward_model.checks.figures import Figure
from reward_model.checks.flatten import flatten
from reward_model.checks.items import Item
from reward_model.checks.numbers import Number, fold, parse_number
from reward_model.checks.periods import Period, find_periods, parse_period
from reward_model.checks.tables import Cell, Table, read_blocks
from reward_model.checks.units import currency_in

_CURRENT = re.compile(r"(?:当前期|报告期|本期)\s*[:：]\s*(\d{6}|(?:19|20)\d{2}年?(?:\d{1,2}月)?)")
_RATIO_LABEL = re.compile(
    r"率|比例|占比|天数|次数|倍数|人数|\bratios?\b|\bmargin|percent|%|days|number "
    r"of|\brates?\b|\byield|headcount|employees",
    re.I,
)
_PER_SHARE = re.compile(r"每股|per share|\beps\b|per diluted|per basic", re.I)
_SAMPLE = re.compile(r"示例|样例|模板|\bexample|\btemplate|\bsample", re.I)
_TOTAL = re.compile(r"^(?:合计|总计|全年|total|full year)$", re.I)
_QUANTITY = re.compile(r"数量|quantity|shares|units", re.I)

_BLOCKS: dict[tuple[object, Period | None], tuple[list[Figure], str]] = {}
"""Figures of tables read before: prompts about one company repeat their tables."""
_BLOCKS_KEPT = 4096

cell_number = lru_cache(maxsize=1 << 16)(parse_number)


def read_figures(prompt: str) -> tuple[list[Figure], str, Period | None]:
    """All figures of a prompt, the currency it names and the period it calls current."""
    flat = flatten(prompt)
    match = _CURRENT.search(flat)
    current = parse_period(match[1]) if match else None
    blocks = list(read_blocks(flat))
    # A fenced table among others is a sample of the layout asked for.
    if any(not b.fenced for b in blocks):
        blocks = [b for b in blocks if not b.fenced]
    figures: list[Figure] = []
    currency = ""
    for block in blocks:
        key = (block.key, current)
        known = _BLOCKS.get(key)
        if known is None:
            table = block.table()
            known = (_figures(table, current), table.currency) if table else ([], "")
            if len(_BLOCKS) >= _BLOCKS_KEPT:
                _BLOCKS.clear()
            _BLOCKS[key] = known
        figures.extend(known[0])
        currency = currency or known[1]
    if not currency:
        sample = flat[:20000]
        currency = currency_in(sample) or ("CNY" if re.search(r"[\u4e00-\u9fff]", sample) else "")
    return figures, currency, current


def _fix_dates(headers: list[Header]) -> list[Period | None]:
    """Column periods; days that differ by the year alone (balance sheets) stand for years."""
    dated = [h.period for h in headers if h.dated and h.period]
    same = len({p.end_month for p in dated}) == 1 and len(dated) == sum(
        h.period is not None for h in headers
    )
    if dated and same and len(set(dated)) > 1:
        return [Period.of_year(h.period.year) if h.period else None for h in headers]
    return [h.period for h in headers]


def _figures(table: Table, current: Period | None) -> list[Figure]:
    heading = read_header(table.headings[-1]) if table.headings else None
    headers = [read_header(c) for c in table.columns]
    body = table.rows[table.header :]
    if not body:
        return []
    periods = _fix_dates(headers)
    roles = [_role(h, j, body) for j, h in enumerate(headers)]
    width = max(len(r) for r in body)
    roles += ["data"] * (width - len(roles))
    if any(_SAMPLE.search(h) for h in table.headings):
        return []
    surroundings = " ".join((*table.headings, table.caption[-200:]))
    background = scope_of(" ".join(table.headings[-3:]))
    if background not in {"benchmark", "budget"}:
        background = scope_of(table.caption[-60:]) if "预算" in table.caption[-60:] else ""
    around: Period | None = None
    if not any(periods) and "period" not in roles:
        found = find_periods(surroundings)
        around = found[-1][2] if found and len({p for *_, p in found}) == 1 else current
    subject = heading if heading and (heading.item or "period" in roles) else None
    where = table.headings[-1] if table.headings else table.caption.split("\n")[-1][:60]
    figures: list[Figure] = []
    meanings: dict[tuple[int, str, Scope, str, bool], _Meaning | None] = {}
    group = ""
    for row in body:
        label, row_period, year = _row_label(row, roles)
        if label and not any(c.text for c in row[1:]):
            group = label
        row_header = read_header(label) if label else None
        if row_header and row_header.period and not row_header.item and row_period is None:
            row_period = row_header.period
        scope_left: Scope = ""
        for j, cell in enumerate(row):
            if roles[j] != "data" or not cell.text:
                continue
            number = cell_number(cell.text)
            header = headers[j] if j < len(headers) else None
            if header and not header.measured:
                scope_left = header.scope
            if number is None:
                continue
            period = row_period or (periods[j] if j < len(periods) else None)
            if period is None and header is not None and year:
                period = (
                    Period.of_year(year)
                    if _TOTAL.match(header.label)
                    else parse_period(header.text, year)
                )
            key = (j, label, scope_left, number.unit, not number.word)
            if key not in meanings:
                meanings[key] = _meaning(
                    number, table, header, row_header, subject, background or scope_left
                )
            meaning = meanings[key]
            if meaning is None:
                continue
            scale = meaning.scale
            if meaning.ratio and (meaning.explicit or abs(number.value) > 1.0):
                scale = 0.01
            inside = f"{group}: " if group and group != label else ""
            figures.append(
                Figure(
                    meaning.item,
                    meaning.label,
                    period or around,
                    number.value * scale,
                    meaning.unit,
                    meaning.measure,
                    meaning.scope,
                    number.step * scale,
                    f"{where} / {inside}{label} / {header.text if header else ''}",
                )
            )
    return figures


def _role(header: Header, j: int, body: list[list[Cell]]) -> str:
    if header.role == "period" or header.role == "code":
        return header.role
    cells = [row[j].text for row in body[:6] if j < len(row) and row[j].text]
    numeric = sum(cell_number(c) is not None for c in cells)
    if header.role == "label":
        return "label" if numeric * 2 <= len(cells) or j == 0 else "data"
    if j == 0 and not header.period and not header.item:
        return "label" if numeric < len(cells) or not cells else "data"
    if (
        cells
        and not numeric
        and not header.period
        and any(parse_period(c) for c in cells)
        and "期" in header.text
    ):
        return "label"
    return "data"


def _row_label(row: list[Cell], roles: list[str]) -> tuple[str, Period | None, int | None]:
    label, period, year = "", None, None
    for j, cell in enumerate(row):
        if not cell.text:
            continue
        if roles[j] == "period":
            period = parse_period(cell.text) or period
        elif roles[j] == "label":
            found = parse_period(cell.text)
            if (
                found
                and "期" not in label
                and any(ch in cell.text for ch in "年0123456789")
                and len(cell.text) < 16
                and not read_header(cell.text).item
                and label == ""
            ):
                year = found.year
                if len(find_periods(cell.text)) == 1 and "-" not in fold(cell.text):
                    period = period or found
                continue
            label = cell.text
    return label, period, year


class _Meaning(NamedTuple):
    """What every number of one column means in rows of one label."""

    item: str | None
    label: str
    unit: str
    scale: float
    measure: Measure
    scope: Scope
    ratio: bool
    explicit: bool


def _meaning(
    number: Number,
    table: Table,
    header: Header | None,
    row: Header | None,
    subject: Header | None,
    background: Scope,
) -> _Meaning | None:
    item: Item | None = None
    source = row
    if row and row.item:
        item = row.item
    elif header and header.item:
        item, source = header.item, row or header
    elif subject is not None and (row is None or not row.label):
        item, source = subject.item, subject
    label = source.label if source else (header.label if header and not header.measured else "")
    if not label:
        return None
    about = [h for h in (header, row, subject if source is subject else None) if h]
    measure: Measure = next((h.measure for h in about if h.measured), "value")
    scopes = (h.scope for h in about if h.scope and (h is not row or h.item or "(" in h.text))
    unit, scale = _unit(number, item, label, table, about, measure)
    # 69.1 in a column of margins is 69.1%; 0.69 without a % sign is left as it is.
    plain = unit == "percent" and number.unit == "plain" and scale == 1.0
    explicit = plain and any(h.percent for h in about)
    return _Meaning(
        item=item.key if item else None,
        label=label,
        unit=unit,
        scale=scale,
        measure=measure,
        scope=next(scopes, "") or background,
        ratio=explicit or (plain and item is not None),
        explicit=explicit,
    )


def _unit(
    number: Number,
    item: Item | None,
    label: str,
    table: Table,
    about: list[Header],
    measure: Measure,
) -> tuple[str, float]:
    """The unit of a cell, and by what its value is still to be multiplied."""
    if measure in {"yoy", "mom", "change", "share"}:
        return "percent", 1.0
    if number.unit in {"percent", "pp"}:
        return "percent", 1.0
    if item is not None and item.unit != "money":
        return item.unit, 1.0
    if number.unit == "money" and number.word:
        return "money", 1.0
    if number.unit in {"times", "days"}:
        return number.unit, 1.0
    if item is None:
        if _PER_SHARE.search(label):
            return "per_share", 1.0
        if any(h.percent for h in about):
            return "percent", 1.0
        if _RATIO_LABEL.search(label) or any(_QUANTITY.search(h.text) for h in about):
            return "plain", 1.0
    scale = next((h.scale for h in reversed(about) if h.scale is not None), None)
    return "money", table.scale if scale is None else scale
