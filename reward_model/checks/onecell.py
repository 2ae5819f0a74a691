"""One number in a cell of a report: its kind, unit and doubt, from row and column together."""

from __future__ import annotations

import re
from typing import NamedTuple

from reward_model.checks import lexicon as lx
from reward_model.checks.claims import Claim
from reward_model.checks.columns import Header, Measure, Scope, read_header
from reward_model.checks.frame import unit_of_cell
from reward_model.checks.items import Item
from reward_model.checks.kinds import Basis, ClaimKind, Direction
from reward_model.checks.numbers import Number
from reward_model.checks.scene import Scene
from reward_model.checks.tables import Cell, Table

_VALUE_COLUMN = re.compile(
    r"^(?:实际|金额|数值|本期|本月|本年|当前|当期|公司|现值|指标值|值|实际值|单月|"
    r"发生|期末|余额|累计|value|actual|amount|current|company|result|level)",
    re.I,
)
_OTHER_COLUMN = re.compile(
    r"差异|偏差|差距|影响|贡献|评价|评级|状态|等级|得分|权重|概率|分位|排名|占比|"
    r"比重|占|变动原因|说明|备注|优先|风险|目标|gap|diff|impact|contribution|score|"
    r"weight|rating|rank|comment|note|share|% of",
    re.I,
)


class Spot(NamedTuple):
    """One number in a cell and what stands around it."""

    scene: Scene
    table: Table
    cell: Cell
    number: Number
    header: Header | None
    row: Header | None
    known: Item | None
    label: str
    entity: str | None
    doubt: str
    soft: Scope


class _Kind(NamedTuple):
    """What a number measures, and in what."""

    kind: ClaimKind
    basis: Basis
    unit: str
    scale: float
    doubt: str = ""
    open_scale: bool = False


def claim_of(spot: Spot) -> Claim | None:
    """The claim, without its period; None where the number is no claim."""
    number, cell = spot.number, spot.cell
    direction: Direction = None
    if lx.UP.search(cell.text):
        direction = "up"
    elif lx.DOWN.search(cell.text):
        direction = "down"
    text = spot.header.text if spot.header else ""
    attain = bool(lx.ATTAIN.search(text))
    found = _with_unit(spot, _kind(spot, direction, attain=attain))
    if found is None:
        return None
    value = number.value * found.scale
    change = found.kind.startswith("change")
    if direction == "down" and change and number.sign == "":
        value = -abs(value)
    start, end = cell.start + number.start, cell.start + number.end
    doubt = spot.doubt or found.doubt or _column_doubt(spot, text, found, attain=attain)
    if spot.known is None and spot.entity is None:
        doubt = doubt or "no known label"
    return Claim(
        start=start,
        end=end,
        text=spot.scene.report[start:end],
        value=value,
        decimals=number.decimals,
        step=number.step * found.scale,
        unit=found.unit,
        item=spot.known.key if spot.known else None,
        label=spot.label,
        period=None,
        kind=found.kind,
        direction=direction if change else None,
        basis=found.basis,
        scope=_scope(spot, attain=attain),
        entity=spot.entity,
        hedge="about" if lx.ABOUT.search(spot.scene.clean[cell.start : start]) else "",
        doubt=doubt,
        cell=True,
        column=text,
        shown=cell.text,
        open_scale=found.open_scale,
        sign=number.sign,
    )


def _scope(spot: Spot, *, attain: bool) -> Scope:
    if attain:
        return spot.soft
    scope: Scope = spot.header.scope if spot.header else ""
    return scope or (spot.row.scope if spot.row and spot.row.item else "") or spot.soft


def _measure(spot: Spot) -> Measure:
    measure = spot.header.measure if spot.header else "value"
    if spot.row is not None and spot.row.measured and measure == "value":
        return spot.row.measure
    return measure


def _kind(spot: Spot, direction: Direction, *, attain: bool) -> _Kind:
    """Kind and basis by column, row and unit; the unit as it is written."""
    number, known, measure = spot.number, spot.known, _measure(spot)
    basis = _basis(measure)
    plain: ClaimKind = "ratio" if known and known.kind == "ratio" else "value"
    if number.unit == "pp":
        return _Kind("change_pp", basis, number.unit, 1.0)
    if attain:
        return _Kind("ratio", "budget", number.unit, 1.0)
    amount = bool(known and known.unit != "percent")
    rate = bool(spot.row and amount and lx.RATE.search(spot.row.text))
    if measure in {"yoy", "mom", "change"} or rate:
        percent = bool(spot.header and spot.header.percent)
        if number.unit == "money" or (number.unit == "plain" and not percent):
            return _Kind("change_abs", basis, number.unit, 1.0)
        if number.unit == "plain":
            return _Kind("change_pct", basis, "percent", 0.01)
        return _Kind("change_pct", basis, number.unit, 1.0)
    if measure in {"yoy_abs", "mom_abs", "change_abs"}:
        return _Kind("change_abs", basis, number.unit, 1.0)
    if number.unit == "percent" and direction:
        return _Kind("change_pct", "", number.unit, 1.0)
    if number.unit == "percent" and known and known.unit == "money":
        return _Kind("change_pct", "", number.unit, 1.0, "a percentage in a column of amounts")
    return _Kind(plain, "", number.unit, 1.0)


def _with_unit(spot: Spot, found: _Kind) -> _Kind | None:
    """The same with the unit of a bare number; None for a bare count of something."""
    number, known = spot.number, spot.known
    # "$ 1,234" in a table in thousands is no more in dollars than 1,234 is.
    bare = number.unit == "plain" or (number.unit == "money" and not number.word)
    if not bare or found.kind not in {"value", "change_abs", "ratio"}:
        return found
    if found.unit not in {"plain", "money"}:
        return found
    header, row = spot.header, spot.row
    if known is None:
        if spot.entity is None:
            return found
        about = [h for h in (header, row or read_header(spot.label)) if h]
        unit, scale = unit_of_cell(number, None, spot.label, spot.table, about, _measure(spot))
        if unit == "percent":
            return found._replace(unit="percent", scale=0.01)
        if unit == "money":
            return found._replace(
                unit=number.unit if scale is None else "money",
                scale=scale or 1.0,
                open_scale=scale is None,
            )
        return found._replace(open_scale=scale is None, scale=scale or 1.0)
    if known.unit == "money":
        scale = (row.scale if row else None) or (header.scale if header else None)
        scale = scale or spot.table.scale
        if scale is not None and scale != 1.0:
            return found._replace(unit="money", scale=scale)
        # A bare "3" or "120" in a table of no unit is a rank, a count or a day before it is money.
        told = number.unit == "money" or number.decimals or "," in number.digits
        if scale is None and not told and len(number.digits) <= 3:
            return None
        return found._replace(open_scale=scale is None)
    # A margin of 0.35 is a fraction, one of 35 a percentage: hardly any is above 150%.
    stated = (header and header.percent) or (row and row.percent) or abs(number.value) > 1.5
    if known.unit == "percent" and number.unit == "plain" and stated:
        return found._replace(unit="percent", scale=0.01)
    return found


def _column_doubt(spot: Spot, text: str, found: _Kind, *, attain: bool) -> str:
    """Why the column may show something else than the item."""
    header = spot.header
    if found.kind in {"value", "ratio"} and found.basis != "budget" and header is not None:
        fits = (
            header.period
            or header.scope
            or header.item
            or _VALUE_COLUMN.match(header.label)
            or lx.PAST.search(text)
            or lx.PAST_MONTH.search(text)
            or any(n in text for n in spot.scene.names)
        )
        if _OTHER_COLUMN.search(text) or header.measure == "share":
            return f"column {text[:20]!r} is not the item itself"
        return "" if fits else f"column {text[:20]!r} is not known"
    if _OTHER_COLUMN.search(text) and not attain:
        return f"column {text[:20]!r} is not the item itself"
    return ""


def _basis(measure: Measure) -> Basis:
    if measure in {"yoy", "yoy_abs"}:
        return "yoy"
    return "mom" if measure in {"mom", "mom_abs"} else ""
