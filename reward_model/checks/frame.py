"""From one table of a prompt to figures: which cell is which item, period, measure and scope."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from reward_model.checks.columns import Header, Measure, Scope, read_header, scope_of
from reward_model.checks.figures import Figure
from reward_model.checks.items import Item
from reward_model.checks.numbers import Number, fold, parse_number
from reward_model.checks.periods import Period, find_periods, parse_period
from reward_model.checks.tables import Cell, Table
from reward_model.checks.units import scale_in

_RATIO_LABEL = re.compile(
    r"率|比例|占比|天数|次数|倍数|人数|\bratios?\b|\bmargin|percent|%|days|number "
    r"of|\brates?\b|\byield|headcount|employees",
    re.I,
)
_PER_SHARE = re.compile(r"每股|per[- ](?:\w+[- ])?share|\beps\b|per diluted|per basic", re.I)
_SAMPLE = re.compile(r"示例|样例|模板|\bexample|\btemplate|\bsample", re.I)
_TOTAL = re.compile(r"^(?:合计|总计|全年|total|full year)$", re.I)
_QUANTITY = re.compile(
    r"数量|股数|股份数|人数|quantity|shares|\bunits\b|subscribers|customers|tons|barrels", re.I
)
_WHOLE = re.compile(
    r"^(?:合计|总计|总额|共计|合并|全公司|公司|本公司|本集团|集团|total|consolidated|group|company|"
    r"the (?:company|group)|overall|amount|value|actual|金额|数值|实际|本期|本年|当期|本月)$",
    re.I,
)
"""Labels of rows that speak of the whole company although they name no line."""

cell_number = lru_cache(maxsize=1 << 16)(parse_number)


@dataclass(slots=True)
class Frame:
    """What all rows of a table share."""

    table: Table
    headers: list[Header]
    periods: list[Period | None]
    roles: list[str]
    around: Period | None
    """The period that headings and caption give where no column and no row has one."""
    subject: Header | None
    """The heading, where it names the item of the whole table."""
    background: Scope
    """A scope that the headings give: benchmarks, budgets."""
    where: str
    digest: int
    strangers: bool
    """Whether its rows are of several regions, products or companies."""
    meanings: dict[tuple[int, str, str, Scope, str, bool], Meaning | None] = field(
        default_factory=dict
    )


def figures_of(table: Table, current: Period | None) -> list[Figure]:
    """All figures of one table; `current` is the period the prompt calls so."""
    frame = _frame(table, current)
    if frame is None:
        return []
    figures: list[Figure] = []
    group = ""
    for i, row in enumerate(table.rows[table.header :]):
        label, row_period, year = _row_label(row, frame.roles)
        if label and not any(c.text for c in row[1:]):
            group = label
        figures.extend(_row(frame, i, row, label, row_period, year, group))
    return _unbracketed(figures)


COSTS = frozenset(
    {"cost_of_sales", "total_operating_cost", "selling_expense", "admin_expense", "rnd_expense"}
    | {"interest_expense", "income_tax", "taxes_and_surcharges", "period_expenses", "finance_cost"}
)
_SURE_COSTS = frozenset(
    {"cost_of_sales", "total_operating_cost", "selling_expense", "admin_expense"}
)


def _unbracketed(figures: list[Figure]) -> list[Figure]:
    """Costs shown in brackets as what they are: a table that subtracts them writes a minus.

    Without this a margin would be 158% and a growing cost would fall.
    """
    costs = [f.value for f in figures if f.item in _SURE_COSTS and f.measure == "value"]
    turned = COSTS if costs and all(v <= 0 for v in costs) else frozenset()
    interest = [f.value for f in figures if f.item == "interest_expense" and f.measure == "value"]
    if interest and all(v <= 0 for v in interest):
        turned |= {"interest_expense"}  # of all lines this one is never a gain
    return [
        f._replace(value=-f.value)
        if f.item in turned and f.measure == "value" and f.unit == "money" and f.value
        else f
        for f in figures
    ]


def _frame(table: Table, current: Period | None) -> Frame | None:
    body = table.rows[table.header :]
    if not body or any(_SAMPLE.search(h) for h in table.headings):
        return None
    heading = read_header(table.headings[-1]) if table.headings else None
    headers = [read_header(c) for c in table.columns]
    roles = [_role(h, j, body) for j, h in enumerate(headers)]
    roles += ["data"] * (max(len(r) for r in body) - len(roles))
    periods = _fix_dates(headers)
    background = scope_of(" ".join(table.headings[-3:]))
    if background not in {"benchmark", "budget"}:
        background = scope_of(table.caption[-60:]) if "预算" in table.caption[-60:] else ""
    around: Period | None = None
    # Columns without any header are the rest of a table that a page cut off: their periods are
    # those of a header that is not here, not of the heading above.
    cut = sum(not h.text for h in headers[1:]) >= 2 and not any(h.text for h in headers[1:])
    if not any(periods) and "period" not in roles and not cut:
        found = find_periods(" ".join((*table.headings, table.caption[-200:])))
        around = found[-1][2] if found and len({p for *_, p in found}) == 1 else current
    raw = "\n".join("|".join(c.text for c in row) for row in table.rows)
    return Frame(
        table=table,
        headers=headers,
        periods=periods,
        roles=roles,
        around=around,
        subject=heading if heading and (heading.item or "period" in roles) else None,
        background=background,
        where=table.headings[-1] if table.headings else table.caption.split("\n")[-1][:60],
        digest=zlib.crc32(raw.encode("utf-8", "surrogatepass")),
        strangers=_strangers(headers, roles, body),
    )


def _strangers(headers: list[Header], roles: list[str], body: list[list[Cell]]) -> bool:
    """Whether columns name items and several rows name what is no item: regions, products."""
    if not any(h.item for h in headers[1:]) or roles[0] != "label":
        return False
    named = set()
    for row in body:
        text = row[0].text if row else ""
        header = read_header(text) if text else None
        if header is None or _WHOLE.match(header.label):
            continue
        if not (header.item or header.period or header.measured or header.scope):
            named.add(header.label)
    return len(named) > 1


def _fix_dates(headers: list[Header]) -> list[Period | None]:
    """Column periods; days that differ by the year alone (balance sheets) stand for years."""
    found = [h.period for h in headers if h.period and h.measure == "value"]
    dated = [h.period for h in headers if h.dated and h.period]
    # "September 30, 2019" beside "Year ended September 30, 2018" is that year as well.
    months = {p.end_month for p in dated} | {p.end_month for p in found if p.kind != "year"}
    apart = len({p.year for p in found}) == len(found)
    if dated and len(months) == 1 and len(found) > 1 and (apart or len(dated) == len(found)):
        return [Period.of_year(h.period.year) if h.period else None for h in headers]
    return [h.period for h in headers]


def _row(
    frame: Frame,
    index: int,
    row: list[Cell],
    label: str,
    row_period: Period | None,
    year: int | None,
    group: str,
) -> Iterator[Figure]:
    """The figures of one row."""
    row_header = read_header(label) if label else None
    if row_header and row_header.period and not row_header.item and row_period is None:
        row_period = row_header.period
    scope_left: Scope = ""
    for j, cell in enumerate(row):
        if frame.roles[j] != "data" or not cell.text:
            continue
        number = cell_number(cell.text)
        header = frame.headers[j] if j < len(frame.headers) else None
        if header and not header.measured:
            scope_left = header.scope
        if number is None:
            continue
        period = row_period or (frame.periods[j] if j < len(frame.periods) else None)
        if period is None and header is not None and year:
            total = _TOTAL.match(header.label)
            period = Period.of_year(year) if total else parse_period(header.text, year)
        key = (j, label, group, scope_left, number.unit, not number.word)
        if key not in frame.meanings:
            frame.meanings[key] = _meaning(
                frame, number, header, row_header, group, frame.background or scope_left
            )
        meaning = frame.meanings[key]
        if meaning is None:
            continue
        scale = meaning.scale
        if meaning.ratio and (meaning.explicit or abs(number.value) > 1.0):
            scale = 0.01
        inside = f"{group}: " if group and group != label else ""
        yield Figure(
            meaning.item,
            meaning.label,
            period or frame.around,
            number.value * scale,
            meaning.unit,
            meaning.measure,
            meaning.scope,
            number.step * scale,
            f"{frame.where} / {inside}{label} / {header.text if header else ''}",
            meaning.known,
            (frame.digest, index),
            header.text if header else "",
            cell.text,
            meaning.of,
        )


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


class Meaning(NamedTuple):
    """What every number of one column means in rows of one label."""

    item: str | None
    label: str
    unit: str
    scale: float
    known: bool
    measure: Measure
    scope: Scope
    ratio: bool
    explicit: bool
    of: str | None


def _meaning(
    frame: Frame,
    number: Number,
    header: Header | None,
    row: Header | None,
    group: str,
    background: Scope,
) -> Meaning | None:
    item: Item | None = None
    of: Item | None = None
    source, subject = row, frame.subject
    if row and row.item:
        item = row.item
    elif header and header.item:
        item, source = header.item, row or header
        if frame.strangers and row and not row.period and not _WHOLE.match(row.label):
            # The row of a region or product: its revenue is not the company's.
            item, of = None, header.item
    elif subject is not None and (row is None or not row.label):
        item, source = subject.item, subject
    if item is not None and item.unit == "percent" and _is_amount(number):
        item = None  # "Gross margin" in dollars is the profit, not the ratio
    label = source.label if source else (header.label if header and not header.measured else "")
    if not label:
        return None
    about = [h for h in (header, row, subject if source is subject else None) if h]
    measure: Measure = next((h.measure for h in about if h.measured), "value")
    scopes = (h.scope for h in about if h.scope and (h is not row or h.item or "(" in h.text))
    unit, scale = unit_of_cell(number, item or of, f"{group} {label}", frame.table, about, measure)
    # 69.1 in a column of margins is 69.1%; 0.69 without a % sign is left as it is.
    plain = unit == "percent" and number.unit == "plain" and scale == 1.0
    explicit = plain and any(h.percent for h in about)
    return Meaning(
        item=item.key if item else None,
        label=label,
        unit=unit,
        scale=1.0 if scale is None else scale,
        known=scale is not None,
        measure=measure,
        scope=next(scopes, "") or background,
        ratio=explicit or (plain and item is not None),
        explicit=explicit,
        of=of.key if of else None,
    )


def _is_amount(number: Number) -> bool:
    return number.unit == "money" or (
        number.unit == "plain" and ("," in number.digits or abs(number.value) >= 1000)
    )


def unit_of_cell(
    number: Number,
    item: Item | None,
    label: str,
    table: Table,
    about: list[Header],
    measure: Measure,
) -> tuple[str, float | None]:
    """The unit of a cell, and by what its value is still to be multiplied (None: not stated)."""
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
    if item is None and number.unit == "plain" and any(h.percent for h in about):
        return "percent", 1.0
    if item is None:
        if _PER_SHARE.search(label):
            return "per_share", 1.0
        if _QUANTITY.search(label) or any(_QUANTITY.search(h.text) for h in about):
            # Shares and pieces have a scale of their own, which the unit of money is not.
            own = next((scale_in(h.text) for h in about if scale_in(h.text) is not None), None)
            return "plain", own or scale_in(label)
        if _RATIO_LABEL.search(label):
            # "Tax at the statutory rate: 35,791" is an amount after all.
            return "plain", 1.0 if abs(number.value) < 1000 else None
    scale = next((h.scale for h in reversed(about) if h.scale is not None), None)
    return "money", table.scale if scale is None else scale
